//! Questions to the owners of budgets that have run out: may the calls that wait go on?
//!
//! There is one question a budget and resource, however many calls wait for its answer. It ends
//! by a decision, by a limit that was raised all the same, or by the clock. A budget whose owner
//! said no, or nothing, is not asked about again until it has more room.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fisc::{
    Amount, Answer, BudgetId, Error, Event, Fisc, Resource, Shortfall, TimeUs, Timestamp, clock,
};
use tokio::sync::watch;

/// The questions that are open, and those whose answer still stands.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Register>);

#[derive(Default)]
struct Register {
    last: u64,
    questions: Vec<Entry>,
}

struct Entry {
    view: Question,
    /// When it ends by itself, by [`Fisc::ticks`].
    due: TimeUs,
    /// What calls might have held of it, had they all to themselves.
    room: i64,
    answer: watch::Sender<Option<Answer>>,
    /// Whether somebody is about to approve it.
    claimed: bool,
}

/// A question as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Its number, from 1.
    pub number: u64,
    /// The budget that has run out.
    pub budget: BudgetId,
    /// Of what.
    pub resource: Resource,
    /// How many calls wait for its answer.
    pub waiting: u32,
    /// What they lack together, in raw units.
    pub lacks: i64,
    /// When it was asked first.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// A call that waits for an answer.
pub(crate) struct Waiting<'a> {
    questions: &'a Questions,
    number: u64,
    lacks: i64,
    answer: watch::Receiver<Option<Answer>>,
}

// === impl Questions ===

impl Questions {
    /// Asks about a call that does not fit, or joins those who ask already; `None` where the
    /// answer is no.
    pub(crate) fn ask(
        &self,
        fisc: &Fisc,
        short: &Shortfall,
        time: Duration,
    ) -> Option<Waiting<'_>> {
        let room = room(fisc, short.budget, short.resource)?;
        let (now, ticks) = (fisc.now(), fisc.ticks());
        let lacks = short
            .needed
            .saturating_sub(short.limit - short.spent)
            .max(1);
        let mut register = self.lock();
        let known = register.questions.iter().position(|question| {
            let view = &question.view;
            (view.budget, view.resource) == (short.budget, short.resource)
        });
        if let Some(known) = known {
            if register.questions[known].answer.borrow().is_none() {
                return Some(self.join(&mut register.questions[known], lacks));
            }
            if register.questions[known].room >= room {
                return None;
            }
            register.questions.remove(known);
        }
        register.last += 1;
        let time = clock::span(time);
        let mut question = Entry {
            view: Question {
                number: register.last,
                budget: short.budget,
                resource: short.resource,
                waiting: 0,
                lacks: 0,
                since: now,
                until: now.after(time),
            },
            due: TimeUs(ticks.0.saturating_add(time.0)),
            room,
            answer: watch::Sender::new(None),
            claimed: false,
        };
        let waiting = self.join(&mut question, lacks);
        register.questions.push(question);
        drop(register);
        fisc.tell(Event::Asked {
            budget: short.budget,
            resource: short.resource,
            lacks,
        });
        Some(waiting)
    }

    fn join(&self, question: &mut Entry, lacks: i64) -> Waiting<'_> {
        let view = &mut question.view;
        view.waiting += 1;
        view.lacks = view.lacks.saturating_add(lacks);
        Waiting {
            questions: self,
            number: view.number,
            lacks,
            answer: question.answer.subscribe(),
        }
    }

    /// Returns the questions that are open, the oldest first.
    pub(crate) fn open(&self) -> Vec<Question> {
        let register = self.lock();
        let open = register.questions.iter().filter(|one| one.is_open());
        open.map(|question| question.view).collect()
    }

    /// Takes a question for whoever is about to approve it, so that nobody else does; `None`
    /// when it is not open, or taken.
    fn claim(&self, number: u64) -> Option<Question> {
        let mut register = self.lock();
        let mut open = register.questions.iter_mut().filter(|one| one.is_open());
        let question = open.find(|one| one.view.number == number && !one.claimed)?;
        question.claimed = true;
        Some(question.view)
    }

    /// Gives a question back that was taken, unanswered.
    fn unclaim(&self, number: u64) {
        let mut register = self.lock();
        let mut questions = register.questions.iter_mut();
        if let Some(question) = questions.find(|one| one.view.number == number) {
            question.claimed = false;
        }
    }

    /// Raises the limits of the budget that a question is about, by its offer where no amount is
    /// named, and lets its calls go on; `None` where it is not open. Returns what was added.
    pub(crate) async fn approve(
        &self,
        fisc: &Fisc,
        number: u64,
        more: Option<Amount>,
    ) -> Option<Result<Amount, Error>> {
        let question = self.claim(number)?;
        let more = more.unwrap_or_else(|| question.offer(fisc));
        let raised = fisc.top_up(question.budget, more).await;
        if raised.is_ok() {
            self.answer(fisc, number, Answer::Approved);
        } else {
            self.unclaim(number);
        }
        Some(raised.map(|()| more))
    }

    /// Ends a question; says whether it was open.
    pub(crate) fn answer(&self, fisc: &Fisc, number: u64, answer: Answer) -> bool {
        let mut register = self.lock();
        let is_it = |one: &Entry| one.view.number == number && one.is_open();
        let Some(at) = register.questions.iter().position(is_it) else {
            return false;
        };
        let question = &mut register.questions[at];
        question.answer.send_replace(Some(answer));
        let Question {
            budget, resource, ..
        } = question.view;
        if matches!(answer, Answer::Approved | Answer::Room) {
            register.questions.remove(at);
        }
        drop(register);
        fisc.tell(Event::Answered {
            budget,
            resource,
            answer,
        });
        true
    }

    /// Ends questions by the clock, and those of budgets that have more room by now.
    pub(crate) fn tick(&self, fisc: &Fisc) {
        if self.lock().questions.is_empty() {
            return;
        }
        let now = fisc.ticks();
        // The books are asked while nothing is locked here.
        let looked: Vec<_> = {
            let register = self.lock();
            let look = |one: &Entry| (one.view, one.room, one.due, one.is_open(), one.claimed);
            register.questions.iter().map(look).collect()
        };
        for (view, before, due, open, claimed) in looked {
            let more = room(fisc, view.budget, view.resource).is_none_or(|now| now > before);
            if more && open && !claimed {
                self.answer(fisc, view.number, Answer::Room);
            } else if more && !open {
                let forget = |one: &Entry| one.view.number != view.number;
                self.lock().questions.retain(forget);
            } else if open && !claimed && now >= due {
                self.answer(fisc, view.number, Answer::TimedOut);
            }
        }
    }

    /// Ends all questions: nobody will answer them any more.
    pub(crate) fn stop(&self, fisc: &Fisc) {
        for asked in self.open() {
            self.answer(fisc, asked.number, Answer::TimedOut);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        // Each change is made whole under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entry ===

impl Entry {
    fn is_open(&self) -> bool {
        self.answer.borrow().is_none()
    }
}

// === impl Question ===

impl Question {
    /// Returns what it is called where people name it.
    pub fn name(&self) -> String {
        format!("q-{}", self.number)
    }

    /// What is given when the owner approves and names no amount: a tenth of the limit, or what
    /// the calls lack if that is more.
    pub fn offer(&self, fisc: &Fisc) -> Amount {
        let status = fisc.status(self.budget);
        let limit = status.and_then(|status| status.terms.limits.get(self.resource));
        let tenth = limit.unwrap_or(0) / 10;
        let mut more = Amount::ZERO;
        more.set(self.resource, self.lacks.max(tenth));
        more
    }
}

// === impl Waiting ===

impl Waiting<'_> {
    /// Says whether it asks about the same budget and resource.
    pub(crate) fn is_about(&self, short: &Shortfall) -> bool {
        let register = self.questions.lock();
        let mut questions = register.questions.iter();
        let own = questions.find(|question| question.view.number == self.number);
        own.is_some_and(|one| {
            (one.view.budget, one.view.resource) == (short.budget, short.resource)
        })
    }

    /// Waits for the answer and says whether the call may ask for its hold again.
    pub(crate) async fn may_go_on(&mut self) -> bool {
        let answered = self.answer.wait_for(Option::is_some).await;
        let answer = answered.ok().and_then(|answer| *answer);
        matches!(answer, Some(Answer::Approved | Answer::Room))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut register = self.questions.lock();
        let mut questions = register.questions.iter_mut();
        if let Some(own) = questions.find(|question| question.view.number == self.number) {
            own.view.waiting -= 1;
            own.view.lacks -= self.lacks;
        }
    }
}

/// Reads what a question is called.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("q-")?.parse().ok()
}

/// Returns what calls of a budget might hold, had they all to themselves.
fn room(fisc: &Fisc, budget: BudgetId, resource: Resource) -> Option<i64> {
    let path = fisc.path(budget);
    let room = fisc.budget(&path).ok()?.headroom();
    Some(room.idle.get(resource))
}

#[cfg(test)]
mod tests {
    use fisc::{Limits, Terms};

    use super::*;

    #[tokio::test]
    async fn a_question_is_claimed_once() {
        let fisc = Fisc::in_memory();
        let terms = Terms {
            limits: Limits::NONE.with(Resource::Tokens, Some(5)),
            ..Terms::default()
        };
        let budget = fisc.allocate("run", terms).await.expect("it fits");
        let short = Shortfall {
            budget: budget.id(),
            resource: Resource::Tokens,
            limit: 5,
            spent: 0,
            held: 0,
            needed: 9,
        };
        let questions = Questions::default();
        let minute = Duration::from_mins(1);
        let waiting = questions.ask(&fisc, &short, minute).expect("it is asked");
        let joined = questions.ask(&fisc, &short, minute).expect("it is asked");
        let [asked] = questions.open()[..] else {
            panic!("one question")
        };
        assert_eq!((asked.number, asked.waiting, asked.lacks), (1, 2, 8));
        assert!(questions.claim(1).is_some());
        assert!(
            questions.claim(1).is_none(),
            "somebody is about to approve it"
        );
        questions.unclaim(1);
        assert!(questions.claim(1).is_some());
        drop((waiting, joined));
        assert_eq!(questions.open()[0].lacks, 0, "who left lacks nothing");
        assert!(questions.answer(&fisc, 1, Answer::Denied));
        assert!(!questions.answer(&fisc, 1, Answer::Denied), "it is decided");
        assert!(questions.ask(&fisc, &short, minute).is_none());
    }
}
