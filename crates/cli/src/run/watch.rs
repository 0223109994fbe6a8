//! Watches a run: shows how it stands, and ends a program that only goes on after refusals, or
//! whose run has run out when it was told to stop then.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use fisc::{Event, Fisc, Resource};
use fisc_gateway::Gateway;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::prompt::Prompt;
use super::status::StatusLine;
use crate::args::{OnLimit, RunArgs, StatusArg};
use crate::supervise::{Control, StopReason};

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// For how many looks the ledger may be unable to write before the run is ended.
const TROUBLED_LOOKS_MAX: u32 = 300;

/// How long calls whose program has ended may still drain.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(30);

/// A watch over a run.
pub(super) struct Watch {
    stop: Option<oneshot::Sender<()>>,
    orders: Option<oneshot::Sender<mpsc::Sender<Control>>>,
    task: JoinHandle<()>,
}

/// What a watch looks at.
struct Watched {
    fisc: Fisc,
    gateway: Arc<Gateway>,
    /// Whether the run is to end when its own budget has run out.
    stops: bool,
    status: StatusLine,
    /// The number of the last event that was looked at.
    seen: u64,
    /// The number of the last question that was told.
    asked: u64,
    /// Whether questions may be asked at the terminal.
    prompts: bool,
    /// The question that is asked at the terminal.
    prompt: Option<Prompt>,
    /// For how many looks the ledger could not be written.
    troubled: u32,
}

// === impl Watch ===

impl Watch {
    pub(super) fn start(args: &RunArgs, fisc: Fisc, gateway: Arc<Gateway>, run: &str) -> Watch {
        let terminal = std::io::stderr().is_terminal();
        let status = match args.status {
            StatusArg::Line => StatusLine::lines(),
            StatusArg::Auto if terminal => StatusLine::live(),
            StatusArg::Auto | StatusArg::None => StatusLine::silent(),
        };
        status.greet(run, &gateway.addr().to_string(), &fisc);
        let watched = Watched {
            fisc,
            gateway,
            stops: args.on_limit == OnLimit::Stop,
            troubled: 0,
            seen: 0,
            asked: 0,
            prompts: args.status != StatusArg::None,
            prompt: None,
            status,
        };
        let (stop, stopped) = oneshot::channel();
        let (orders, given) = oneshot::channel();
        let task = tokio::spawn(watched.watch(stopped, given));
        Watch {
            stop: Some(stop),
            orders: Some(orders),
            task,
        }
    }

    /// Lets the watch give orders to the supervisor.
    pub(super) fn orders(&mut self, control: mpsc::Sender<Control>) {
        if let Some(orders) = self.orders.take() {
            // A watch that is gone gives no orders.
            let _ = orders.send(control);
        }
    }

    /// Ends the watch and clears its line.
    pub(super) async fn stop(mut self) {
        drop(self.stop.take());
        let _ = self.task.await;
    }
}

// === impl Watched ===

impl Watched {
    async fn watch(
        mut self,
        mut stopped: oneshot::Receiver<()>,
        given: oneshot::Receiver<mpsc::Sender<Control>>,
    ) {
        let mut interval = tokio::time::interval(LOOK);
        let control = given.await.ok();
        let mut ordered = false;
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                _ = interval.tick() => {}
            }
            self.show();
            self.ask(control.as_ref());
            let Some(reason) = self.reason_to_stop().filter(|_| !ordered) else {
                continue;
            };
            if let Some(control) = &control {
                ordered = control.send(Control::Stop(reason)).await.is_ok();
            }
        }
        if let Some(prompt) = self.prompt.take() {
            prompt.end().await;
        }
        self.show();
        self.status.clear();
    }

    /// Tells what the owner is asked, and asks at the terminal: one question at a time.
    fn ask(&mut self, control: Option<&mpsc::Sender<Control>>) {
        let open = self.gateway.questions();
        if self
            .prompt
            .as_ref()
            .is_some_and(|prompt| prompt.is_over(&open))
        {
            self.prompt = None;
        }
        if self.prompt.is_some() {
            return;
        }
        let Some(question) = open.iter().find(|question| question.number > self.asked) else {
            return;
        };
        self.asked = question.number;
        StatusLine::question(&self.fisc, question);
        self.prompt = control.filter(|_| self.prompts).and_then(|control| {
            let (gateway, fisc) = (&self.gateway, &self.fisc);
            Prompt::start(gateway, fisc, control, question)
        });
    }

    fn show(&mut self) {
        // Levels that were missed are of the past: the line shows where all stand.
        let (news, _) = self.fisc.events_since(self.seen);
        self.seen = news.last().map_or(self.seen, |noted| noted.number);
        for noted in news {
            match noted.event {
                Event::LevelChanged {
                    budget, from, to, ..
                } if to > from => self.status.level(&self.fisc, budget, to),
                Event::Forecast {
                    budget,
                    resource,
                    total,
                    limit,
                    ..
                } => {
                    let totals = (total, limit);
                    self.status.forecast(&self.fisc, budget, resource, totals);
                }
                _ => {}
            }
        }
        self.status.draw(&self.fisc);
    }

    fn reason_to_stop(&mut self) -> Option<StopReason> {
        // The gateway opens a ledger anew that failed to write; not for ever.
        self.troubled = if self.fisc.trouble().is_some() {
            self.troubled + 1
        } else {
            0
        };
        if self.troubled > TROUBLED_LOOKS_MAX {
            return Some(StopReason::GatewayFailed);
        }
        if self.stops
            && let Some(limiting) = self.gateway.root_ran_out()
        {
            let resource = limiting.resource.unwrap_or(Resource::Time);
            return Some(StopReason::Exhausted(resource));
        }
        let only_refuses = self.gateway.only_refuses();
        only_refuses.then_some(StopReason::Refusals)
    }
}
