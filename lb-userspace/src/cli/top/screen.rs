//! The terminal while `top` runs: another page, no cursor, keys one by one. Ctrl-C still interrupts, and whatever ends this puts back
//! what was.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Another page, no cursor, long lines are cut.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// All of that back.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the corner, and away with what is there.
const HOME: &str = "\x1b[H\x1b[J";

/// The terminal.
pub(super) struct Screen {
    /// What the terminal was like, if keys come from one, and who says that one of them ends this.
    keys: Option<(Termios, oneshot::Receiver<()>)>,
    terminate: Signal,
    interrupt: Signal,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        // First: a signal must not leave the terminal as it is from here on.
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let keys = tcgetattr(io::stdin()).ok().and_then(|before| {
            let mut one_by_one = before.clone();
            one_by_one.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
            tcsetattr(io::stdin(), SetArg::TCSANOW, &one_by_one).ok()?;
            let (quit, wanted) = oneshot::channel();
            // It ends with the process: nobody can be kept from waiting for a key.
            std::thread::spawn(move || {
                wait_for_quit();
                // Nobody listens only when this has ended anyway.
                let _ = quit.send(());
            });
            Some((before, wanted))
        });
        let screen = Self { keys, terminate, interrupt };
        put(ENTER)?;
        Ok(screen)
    }

    /// Lines that fit.
    pub(super) fn rows(&self) -> usize {
        let _ = self;
        terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0))
    }

    /// Shows a whole page.
    pub(super) fn show(&self, page: &str) -> io::Result<()> {
        let _ = self;
        let mut out = anstream::stdout().lock();
        out.write_all(HOME.as_bytes())?;
        out.write_all(page.trim_end().as_bytes())?;
        out.flush()
    }

    /// Waits; whether somebody wants to end.
    pub(super) async fn wait(&mut self, time: Duration) -> io::Result<bool> {
        let Self { keys, terminate, interrupt } = self;
        let quit = async {
            match keys {
                // A sender that is gone is a terminal that is gone.
                Some((_, wanted)) => drop(wanted.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = quit => Ok(true),
            _ = terminate.recv() => Ok(true),
            _ = interrupt.recv() => Ok(true),
            () = tokio::time::sleep(time) => Ok(false),
        }
    }
}

/// Returns at `q`, Escape, or when the terminal is gone.
fn wait_for_quit() {
    let mut some = [0; 16];
    while let Ok(n @ 1..) = io::stdin().lock().read(&mut some) {
        if some[..n].iter().any(|key| matches!(key, b'q' | b'Q' | 0x1b | 3 | 4)) {
            return;
        }
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Whoever has closed the terminal does not mind.
        let _ = put(LEAVE);
        if let Some((before, _)) = &self.keys {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
