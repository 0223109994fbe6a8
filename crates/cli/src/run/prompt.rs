//! The question at the terminal: a budget has run out, may its calls go on?
//!
//! The terminal is the program's. It is borrowed for the question and given back after it; a
//! program that reads it meanwhile stands still until then. Where a program draws on the whole
//! screen nothing is asked there, nor where the question was decided elsewhere meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fisc::{Amount, Fisc, Money, TimeUs, Tokens};
use fisc_gateway::{Gateway, Question};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, LocalFlags, tcflush, tcgetattr};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::amounts::{Limit, LimitsSpec};
use crate::budget::more_limits;
use crate::failure::Failure;
use crate::supervise::Control;
use crate::wire;

/// How often it is looked whether the question is still open, in milliseconds.
const LOOK_MS: u16 = 100;

/// A question at the terminal.
pub(super) struct Prompt {
    number: u64,
    over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// What was typed.
enum Typed {
    /// So much more.
    Approve(Amount),
    Deny,
    /// It was decided elsewhere.
    Over,
}

// === impl Prompt ===

impl Prompt {
    /// Asks, where somebody sits at a terminal that the program does not draw on.
    pub(super) fn start(
        gateway: &Arc<Gateway>,
        fisc: &Fisc,
        control: &mpsc::Sender<Control>,
        question: &Question,
    ) -> Option<Prompt> {
        let terminal = terminal()?;
        let over = Arc::new(AtomicBool::new(false));
        let asking = ask(
            terminal,
            (Arc::clone(gateway), fisc.clone()),
            control.clone(),
            *question,
            Arc::clone(&over),
        );
        Some(Prompt {
            number: question.number,
            over,
            task: tokio::spawn(asking),
        })
    }

    /// Says whether nothing is asked any more; takes a question back that was decided elsewhere.
    pub(super) fn is_over(&self, open: &[Question]) -> bool {
        if open.iter().all(|question| question.number != self.number) {
            self.over.store(true, Ordering::Relaxed);
        }
        self.task.is_finished()
    }

    /// Takes the question back.
    pub(super) async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.task.await;
    }
}

fn terminal() -> Option<File> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return None;
    }
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let terminal = terminal.ok()?;
    let modes = tcgetattr(&terminal).ok()?;
    modes
        .local_flags
        .contains(LocalFlags::ICANON)
        .then_some(terminal)
}

async fn ask(
    terminal: File,
    (gateway, fisc): (Arc<Gateway>, Fisc),
    control: mpsc::Sender<Control>,
    question: Question,
    over: Arc<AtomicBool>,
) {
    let (lent, has_it) = oneshot::channel();
    // A supervisor that is gone has nobody under it who would ask.
    if control.send(Control::Borrow(lent)).await.is_err() || has_it.await.is_err() {
        return;
    }
    let offer = question.offer(&fisc);
    let counting = fisc.counting();
    let typed = tokio::task::spawn_blocking(move || {
        converse(terminal, question, offer, &over, |limits| {
            amount(limits, counting)
        })
    });
    match typed.await.unwrap_or(Ok(Typed::Over)) {
        Ok(Typed::Approve(more)) => match gateway.approve(question.number, Some(more)).await {
            Ok(added) => eprintln!("fisc ▸ {} more", show(added)),
            Err(why) => eprintln!("fisc ▸ not approved: {why}"),
        },
        Ok(Typed::Deny) if gateway.deny(question.number) => eprintln!("fisc ▸ denied"),
        Ok(Typed::Deny) => eprintln!("fisc ▸ not denied: it is not asked any more"),
        Ok(Typed::Over) | Err(_) => {}
    }
    let _ = control.send(Control::Return).await;
}

/// Asks until the answer can be understood.
fn converse(
    mut terminal: File,
    question: Question,
    offer: Amount,
    over: &AtomicBool,
    read: impl Fn(&LimitsSpec) -> Result<Amount, String>,
) -> io::Result<Typed> {
    // What was typed before the question is no answer to it.
    tcflush(&terminal, FlushArg::TCIFLUSH)?;
    loop {
        let (offered, name) = (show(offer), question.name());
        write!(
            terminal,
            "    [g]rant {offered}, another amount, or [s]top?   \
             (elsewhere: fisc approve {name})\n    > "
        )?;
        terminal.flush()?;
        let Some(line) = read_line(&mut terminal, over)? else {
            writeln!(terminal)?;
            return Ok(Typed::Over);
        };
        match line.trim() {
            "g" | "grant" => return Ok(Typed::Approve(offer)),
            "s" | "stop" => return Ok(Typed::Deny),
            "" => {}
            text => match more_limits("amount", text).map_err(|why: Failure| why.to_string()) {
                Ok(limits) => match read(&limits) {
                    Ok(more) if more == Amount::ZERO => writeln!(terminal, "    nothing to add")?,
                    Ok(more) => return Ok(Typed::Approve(more)),
                    Err(why) => writeln!(terminal, "    {why}")?,
                },
                Err(why) => writeln!(terminal, "{why}")?,
            },
        }
    }
}

/// Reads a line; `None` when the question is over, or the terminal gone.
fn read_line(terminal: &mut File, over: &AtomicBool) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        if over.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut ready = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(LOOK_MS)).unwrap_or(0) == 0 {
            continue;
        }
        // A line comes whole: the terminal collects it.
        let mut buffer = [0; 1024];
        let count = terminal.read(&mut buffer)?;
        if count == 0 {
            return Ok(None);
        }
        line.extend_from_slice(&buffer[..count]);
        if line.ends_with(b"\n") {
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
    }
}

fn amount(limits: &LimitsSpec, counting: fisc::TokenCounting) -> Result<Amount, String> {
    let tokens = match &limits.tokens {
        Some(Limit::At(given)) if given.counting.is_some_and(|other| other != counting) => {
            return Err("tokens are counted otherwise in this run".to_owned());
        }
        Some(Limit::At(given)) => given.tokens,
        _ => Tokens(0),
    };
    let cost = match limits.cost {
        Some(Limit::At(cost)) => cost,
        _ => Money::ZERO,
    };
    let time = match limits.active_time {
        Some(Limit::At(time)) => time,
        _ => TimeUs(0),
    };
    Ok(Amount::new(tokens, cost, time))
}

fn show(amount: Amount) -> String {
    wire::amount(|resource| amount.get(resource))
}
