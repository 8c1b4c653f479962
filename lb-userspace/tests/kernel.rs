//! What this kernel makes of the object. `cargo xtask vm` asks it of many kernels and reads the lines it prints.

use std::{io::Write as _, time::Instant};

use lb_common::{hash::HashKey, names};
use lb_userspace::{
    datapath::{kernel_check::features, object::Object},
    model::Limits,
};

/// A line of its own, also when the test harness has begun one.
fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{line}").expect("standard output");
}

#[test]
fn the_object_is_verified_and_compiled_or_refused_in_a_sentence() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!(
            "SKIPPED: loading the program needs root. Type: sudo -E env \"PATH=$PATH\" cargo xtask test"
        );
        return;
    }
    for (name, there, meaning) in features().rows() {
        say(&format!("feature {name}: {}", if there { "yes".to_owned() } else { format!("no ({meaning})") }));
    }
    let limits =
        Limits { services: 64, backends: 64, pools: 16, slots: 2048, pins: 4096, ..Limits::default() };
    let begin = Instant::now();
    let object = match Object::load(&limits, HashKey::default(), None) {
        Ok(object) => object,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("this kernel"), "no plain refusal: {text}");
            assert!(!text.contains('\n') && text.len() < 400, "a verifier's log: {text}");
            say(&format!("refused: {text}"));
            return;
        }
    };
    say(&format!("loaded in {} ms", begin.elapsed().as_millis()));
    let mut programs = vec![names::PROG_LB, names::PROG_WHERE];
    if features().frags {
        object.ensure_loaded(names::PROG_LB_FRAGS).expect("the program for frames of several buffers");
        programs.push(names::PROG_LB_FRAGS);
    }
    for name in programs {
        let info = object.with_program(name, |program| Ok(program.info().expect("a loaded program's facts")));
        let info = info.expect("a program of this name");
        assert!(info.size_jitted() > 0, "{name} is interpreted: the kernel's JIT is off");
        // Told since Linux 5.16.
        let verified = info.verified_instruction_count();
        let verified = verified.map_or_else(String::new, |n| format!(", {n} instructions verified"));
        say(&format!("program {name}: {} bytes of machine code{verified}", info.size_jitted()));
    }
}
