//! The programs under test: `lbd` in the balancer's namespace, `lbctl` beside it, and the daemon's HTTP port.

use std::{
    fs,
    io::Read as _,
    net::TcpStream,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{site::Site, until::until};

/// A running `lbd`; killed when dropped.
#[derive(Debug)]
pub(crate) struct Lbd(Child);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lbd {
    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).expect("lbd runs");
    }

    /// SIGKILL: it gets no chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.0.kill().expect("lbd runs");
        assert_eq!(self.0.wait().expect("lbd ends").signal(), Some(Signal::SIGKILL as i32));
    }

    /// SIGTERM; it must end by itself and well.
    pub(crate) fn terminate(self) {
        self.signal(Signal::SIGTERM);
        let status = self.ended();
        assert!(status.success(), "{status} after SIGTERM");
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> ExitStatus {
        until("lbd ends", || self.0.try_wait().expect("a child of ours"))
    }

    /// It has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.0.try_wait().expect("a child of ours").is_none()
    }
}

impl Drop for Lbd {
    fn drop(&mut self) {
        // Dead already is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `lbd`, as it is started here.
pub(crate) fn lbd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbd"));
    command.env_remove("RUST_LOG").env_remove("LBD_CONFIG").env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    command
}

impl Site {
    /// Starts `lbd` and waits until it is ready and every host of the file serves.
    pub(crate) fn start(&self) -> Lbd {
        let daemon = self.start_until_ready();
        self.until_all("serving");
        daemon
    }

    /// Starts `lbd` and waits until it says that it is ready.
    pub(crate) fn start_until_ready(&self) -> Lbd {
        let mut daemon = self.spawn(&[]);
        until("lbd is ready", || {
            assert!(daemon.runs(), "lbd ended:\n{}", self.log());
            (self.http_if_any("/readyz")?.0 == 200).then_some(())
        });
        daemon
    }

    /// Starts `lbd` and waits for nothing.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Lbd {
        let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let both = log.try_clone().expect("a log file");
        let mut command = lbd();
        command.arg("--config").arg(self.config()).args(arguments).stdout(both).stderr(log);
        Lbd(self.balancer.run(|| command.spawn()).expect("starting lbd"))
    }

    /// Runs `lbd` to its end.
    pub(crate) fn lbd_to_its_end(&self, arguments: &[&str]) -> Ran {
        let mut command = lbd();
        command.arg("--config").arg(self.config()).args(arguments);
        self.balancer.run(|| run(&mut command))
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.dir.path().join("lbd.log")
    }

    /// What the daemons of this site logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Waits for a word in the log.
    pub(crate) fn until_logged(&self, words: &str) {
        until(&format!("the log says \"{words}\"; it says:\n{}", self.log()), || {
            self.log().contains(words).then_some(())
        });
    }

    /// Runs `lbctl`.
    pub(crate) fn lbctl(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbctl"));
        command.arg("--socket").arg(self.dir.path().join("lbd.sock")).args(arguments);
        run(&mut command)
    }

    /// Runs `lbctl`, which must succeed; what it prints.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let ran = self.lbctl(arguments);
        assert_eq!(ran.code, 0, "lbctl {arguments:?}: {ran:#?}\n{}", self.log());
        ran.stdout
    }

    /// The answer of the HTTP port: status and body.
    pub(crate) fn http(&self, path: &str) -> (u16, String) {
        self.http_if_any(path).unwrap_or_else(|| panic!("no answer to {path}\n{}", self.log()))
    }

    fn http_if_any(&self, path: &str) -> Option<(u16, String)> {
        let answer = self
            .raw_http(format!("GET {path} HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n").as_bytes())?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// What the HTTP port answers to these bytes.
    pub(crate) fn raw_http(&self, request: &[u8]) -> Option<String> {
        self.balancer.run(|| {
            let mut stream = TcpStream::connect("127.0.0.1:9090").ok()?;
            exchange(&mut stream, request)
        })
    }

    /// JSON of the HTTP port.
    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.http(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    /// The pool as `/api/v1/list` shows it.
    pub(crate) fn pool(&self) -> Value {
        self.json("/api/v1/list")["pools"][0].clone()
    }

    /// One of its backends.
    pub(crate) fn member(&self, name: &str) -> Value {
        let pool = self.pool();
        let members = pool["members"].as_array().expect("members");
        members
            .iter()
            .find(|member| member["name"] == name)
            .cloned()
            .unwrap_or_else(|| panic!("{name}: {pool:#}"))
    }

    /// Waits until a backend is in a state and the kernel's tables say the same.
    pub(crate) fn until_state(&self, name: &str, state: &str) -> Value {
        let takes_new = matches!(state, "serving" | "held");
        until(&format!("{name} is {state}; it is {:#}", self.member(name)), || {
            let member = self.member(name);
            let slots = member["table"]["slots"].as_u64().unwrap_or(0);
            (member["state"] == state && (slots > 0) == takes_new && self.written()).then_some(member)
        })
    }

    /// Waits until all backends are in a state, and the kernel's tables say the same.
    pub(crate) fn until_all(&self, state: &str) {
        let names: Vec<String> = self.pool()["members"]
            .as_array()
            .expect("members")
            .iter()
            .map(|member| member["name"].as_str().expect("a name").to_owned())
            .collect();
        for name in names {
            self.until_state(&name, state);
        }
    }

    /// The kernel has the wanted tables.
    fn written(&self) -> bool {
        let status = self.json("/api/v1/status");
        status["datapath"]["revision"] == status["datapath"]["wanted_revision"]
    }

    /// Waits until a metric is right: it is collected at most once a second.
    pub(crate) fn until_metric(&self, name: &str, labels: &[&str], right: impl Fn(f64) -> bool) {
        until(&format!("{name} {labels:?} is right; it is {}", self.metric(name, labels)), || {
            right(self.metric(name, labels)).then_some(())
        });
    }

    /// The sum of a metric's samples whose labels contain all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.http("/metrics");
        assert_eq!(status, 200, "{text}");
        let samples: Vec<f64> = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| {
                line.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line}"))
            })
            .collect();
        assert!(!samples.is_empty(), "no metric {name} with {labels:?}:\n{text}");
        samples.iter().sum()
    }
}

/// Sends and reads to the end; `None` when nothing comes back.
pub(crate) fn exchange(stream: &mut (impl std::io::Read + std::io::Write), request: &[u8]) -> Option<String> {
    // A server may refuse before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..n]);
    }
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

fn run(command: &mut Command) -> Ran {
    let mut child = command
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let reader = |mut pipe: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            // Text that is not UTF-8 fails the assertion that looks for words in it.
            let _ = pipe.read_to_string(&mut text);
            text
        })
    };
    let stdout = reader(Box::new(child.stdout.take().expect("a pipe")));
    let stderr = reader(Box::new(child.stderr.take().expect("a pipe")));
    let mut lbd = Lbd(child);
    let status = crate::until::within(Duration::from_secs(30), &format!("{command:?} ends"), || {
        lbd.0.try_wait().expect("a child of ours")
    });
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: stdout.join().expect("a reader"),
        stderr: stderr.join().expect("a reader"),
    }
}
