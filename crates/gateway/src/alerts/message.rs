//! What an alert says, and how that looks on its way: `docs/reference/webhooks.md` describes it.

use bytes::Bytes;
use fisc::{Amount, BudgetId, Event, InDoubt, Level, Money, Noted, Resource, Timestamp};
use serde_json::{Map, Value, json};

use super::webhook::AlertKind;
use crate::secret::Secret;

/// How many holds in doubt an alert lists; it says how many there are.
const LISTED_MAX: usize = 50;

/// How much is shown of a name that a caller chose.
const NAME_CHARS_MAX: usize = 128;

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alert {
    pub(super) kind: AlertKind,
    /// The path of the budget that it is about, if it is about one.
    pub(super) budget: Option<String>,
    /// The worse of the levels before and after, of a level that changed.
    pub(super) level: Option<Level>,
    at: Timestamp,
    data: Map<String, Value>,
}

/// An alert as it is sent, the same however often it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Bytes,
}

/// What tells the alerts of this process from those of others.
pub(super) struct Instance {
    name: String,
    last: std::sync::atomic::AtomicU64,
}

// === impl Alert ===

impl Alert {
    /// Tells of an event of the budget at `path`; `named` knows the paths of others.
    pub(super) fn event(noted: &Noted, path: String, named: impl Fn(BudgetId) -> String) -> Alert {
        let (kind, rest) = match noted.event {
            Event::LevelChanged {
                resource: of,
                from,
                to,
                ..
            } => {
                let (from, to) = (from.name(), to.name());
                let rest = json!({"resource": resource(of), "from": from, "to": to});
                (AlertKind::Level, rest)
            }
            Event::Overrun { by, .. } => (AlertKind::Overrun, json!({"by": figures(by)})),
            Event::Finalize { .. } => (AlertKind::Finalize, json!({})),
            Event::Released { .. } => (AlertKind::Released, json!({})),
            Event::Lent { lender, amount, .. } => {
                let rest = json!({"lender": named(lender), "amount": figures(amount)});
                (AlertKind::Lent, rest)
            }
            Event::WindowBegan { span, carried, .. } => {
                let (start, end) = (time(span.start), time(span.end));
                let rest = json!({"start": start, "end": end, "carried": figures(carried)});
                (AlertKind::Window, rest)
            }
            Event::Frozen { frozen, .. } => (AlertKind::Frozen, json!({"frozen": frozen})),
            Event::Forecast {
                resource: of,
                total,
                limit,
                raised,
                ..
            } => {
                let of = of.name();
                let rest = json!({
                    "resource": of, "total": total, "limit": limit, "raised": raised,
                });
                (AlertKind::Forecast, rest)
            }
            Event::Runaway { sign, .. } => (AlertKind::Runaway, json!({"sign": sign.name()})),
            Event::Asked {
                resource: of,
                lacks,
                ..
            } => {
                let rest = json!({"resource": of.name(), "lacks": lacks});
                (AlertKind::Asked, rest)
            }
            Event::Answered {
                resource: of,
                answer,
                ..
            } => {
                let rest = json!({"resource": of.name(), "answer": answer.name()});
                (AlertKind::Answered, rest)
            }
        };
        let mut alert = Alert::new(kind, noted.at, rest);
        if let Event::LevelChanged { from, to, .. } = noted.event {
            alert.level = Some(from.max(to));
        }
        alert.about(path)
    }

    pub(super) fn unpriced(at: Timestamp, path: String, provider: &str, model: &str) -> Alert {
        let model: String = model.chars().take(NAME_CHARS_MAX).collect();
        let rest = json!({"provider": provider, "model": model});
        Alert::new(AlertKind::Unpriced, at, rest).about(path)
    }

    pub(super) fn missed(at: Timestamp, missed: u64) -> Alert {
        Alert::new(AlertKind::Missed, at, json!({"missed": missed}))
    }

    /// Lists holds in doubt with the paths of their budgets; `None` where there are none.
    pub(super) fn in_doubt<'a>(
        at: Timestamp,
        doubts: impl Iterator<Item = &'a (String, InDoubt)>,
    ) -> Option<Alert> {
        let (mut count, mut listed) = (0_u64, Vec::new());
        for (path, doubt) in doubts {
            count += 1;
            if listed.len() < LISTED_MAX {
                listed.push(json!({
                    "hold": doubt.id.to_string(),
                    "budget": path,
                    "opened": time(doubt.opened),
                    "operation": *doubt.call.operation,
                    "model": *doubt.call.model,
                    "charged": figures(doubt.charged),
                }));
            }
        }
        let rest = json!({"count": count, "holds": listed});
        (count > 0).then(|| Alert::new(AlertKind::InDoubt, at, rest))
    }

    fn new(kind: AlertKind, at: Timestamp, data: Value) -> Alert {
        let Value::Object(data) = data else {
            unreachable!("what an alert says are members");
        };
        Alert {
            kind,
            budget: None,
            level: None,
            at,
            data,
        }
    }

    fn about(mut self, path: String) -> Alert {
        self.data.insert("budget".to_owned(), path.clone().into());
        self.budget = Some(path);
        self
    }
}

// === impl Instance ===

impl Instance {
    pub(super) fn new() -> Instance {
        let name = Secret::generate().map(|drawn| drawn.expose().to_owned());
        Instance {
            // Ids need not be secret; without randomness they may repeat after a restart.
            name: name.unwrap_or_default(),
            last: 0.into(),
        }
    }

    /// Writes an alert, with an id of its own.
    pub(super) fn message(&self, alert: &Alert) -> Message {
        let number = self.last.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let body = json!({
            "type": alert.kind.name(),
            "timestamp": time(alert.at),
            "data": alert.data,
        });
        Message {
            id: format!("msg_{}_{number}", self.name),
            body: body.to_string().into(),
        }
    }
}

/// Returns the word for a resource, or for elapsed time.
pub(super) fn resource(resource: Option<Resource>) -> &'static str {
    resource.map_or("elapsed", Resource::name)
}

/// Writes a time as in RFC 3339, or `null` where no calendar has it.
fn time(at: Timestamp) -> Value {
    let at = jiff::Timestamp::from_microsecond(at.0);
    at.map_or(Value::Null, |at| at.to_string().into())
}

fn figures(amount: Amount) -> Value {
    let [tokens, cost, time] = amount.raw();
    let dollars = Money::from_nanos(cost).to_decimal();
    json!({"tokens": tokens, "cost_usd": dollars, "cost_nanousd": cost, "active_time_us": time})
}

#[cfg(test)]
mod tests {
    use fisc::{Sign, TimeUs, Tokens};

    use super::*;

    const AT: Timestamp = Timestamp(1_700_000_000_500_000);

    fn written(event: Event) -> Value {
        let noted = Noted {
            number: 1,
            at: AT,
            ticks: TimeUs(0),
            event,
        };
        let alert = Alert::event(&noted, "team/a".to_owned(), |id| format!("id {}", id.0));
        let message = Instance::new().message(&alert);
        serde_json::from_slice(&message.body).expect("JSON")
    }

    #[test]
    fn an_alert_says_what_when_and_about_whom() {
        let budget = BudgetId(1);
        let amount = Amount::new(Tokens(7), Money::from_nanos(1_500_000_000), TimeUs(3));
        let figures = json!({
            "tokens": 7, "cost_usd": "1.50", "cost_nanousd": 1_500_000_000, "active_time_us": 3,
        });
        let level = Event::LevelChanged {
            budget,
            resource: Some(Resource::Cost),
            from: Level::Green,
            to: Level::Yellow,
        };
        let expected = json!({
            "type": "level", "timestamp": "2023-11-14T22:13:20.5Z",
            "data": {"budget": "team/a", "resource": "cost", "from": "green", "to": "yellow"},
        });
        assert_eq!(written(level), expected);
        let lent = Event::Lent {
            lender: BudgetId(2),
            borrower: budget,
            amount,
        };
        let data = |event| written(event)["data"].clone();
        let expected = json!({"budget": "team/a", "lender": "id 2", "amount": figures});
        assert_eq!(data(lent), expected);
        let runaway = Event::Runaway {
            budget,
            sign: Sign::Repeats,
        };
        assert_eq!(
            data(runaway),
            json!({"budget": "team/a", "sign": "repeats"})
        );
        let frozen = Event::Frozen {
            budget,
            frozen: true,
        };
        assert_eq!(data(frozen), json!({"budget": "team/a", "frozen": true}));
    }

    #[test]
    fn each_alert_has_an_id_of_its_own_and_bounded_names() {
        let long = "m".repeat(1_000);
        let alert = Alert::unpriced(AT, "team".to_owned(), "openai", &long);
        let instance = Instance::new();
        let (one, two) = (instance.message(&alert), instance.message(&alert));
        assert_ne!(one.id, two.id);
        assert_ne!(one.id, Instance::new().message(&alert).id);
        assert_eq!(one.body, two.body);
        assert!(one.body.len() < 400);
    }
}
