//! Running programs, so that a failure names the command to type.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Runs to its end; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| show(command))?;
    if !status.success() {
        bail!("{status}: {}", show(command));
    }
    Ok(())
}

/// Runs to its end without showing what it says, except in the error.
pub(crate) fn quietly(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| show(command))?;
    if !output.status.success() {
        bail!(
            "{}: {}\n{}{}",
            output.status,
            show(command),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same with a text on its standard input.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| show(command))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that has gone already says why by its status.
        _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| show(command))?;
    if !output.status.success() {
        bail!("{}: {}\n{}", output.status, show(command), String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}

/// The command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:+@%^".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            _ = write!(text, " {argument}");
        } else {
            _ = write!(text, " '{}'", argument.replace('\'', r"'\''"));
        }
    }
    text
}

/// Whether a program of this name is on PATH or where Debian keeps those for root.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(Into::into))
        .any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_as_typed() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).expect_err("it exits with 3").to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("sh -c 'exit 3'"), "{error}");
    }

    #[test]
    fn quotes_in_arguments_survive_a_copy_into_a_shell() {
        assert_eq!(show(Command::new("echo").args(["it's", ""])), r"echo 'it'\''s' ''");
    }

    #[test]
    fn what_a_quiet_command_said_is_in_its_error() {
        let error =
            quietly(Command::new("sh").args(["-c", "echo no such thing >&2; false"])).expect_err("it fails");
        assert!(error.to_string().contains("no such thing"));
    }
}
