//! The small language of the scenario files: one row is one operation with its expected result,
//! or one look at the tree. `invariants::check` runs after every row, and a row that is refused
//! must leave the tree exactly as it was.
//!
//! ```text
//! budget PATH [AMOUNT…] [static] [keep.AMOUNT…] [elapsed=T] [reserve=5%] [call.AMOUNT…]
//!             [keep=auto] [frozen] [share=equal|fair|…] [weight=2] [need.AMOUNT…]
//!             [lendable=50%] [window=daily|weekly|monthly|10s] [roll-over=50%]
//! terms PATH …                    as above, replaces all terms
//! hold H PATH AMOUNT… [finalize]  then -> ok | not-now PATH RESOURCE | never PATH RESOURCE
//!                                         | per-call PATH RESOURCE | deadline PATH | an error
//! extend H AMOUNT…    settle H AMOUNT…    void H    meter H AMOUNT…    correct PATH AMOUNT…
//! at T                sets the clock       tick      moves the levels of elapsed time
//! restart             rebuilds the tree as a journal would, and compares
//! fan PATH N          allocates N children without terms
//! release PATH        divide PATH          expect PATH AMOUNT…       lend FROM TO AMOUNT…
//!
//! spent | held | own | overrun | deficit PATH AMOUNT…     nothing where not named
//! headroom | idle PATH [finalize] AMOUNT…                 unlimited where not named
//! share | now | claim | loaned | carried PATH AMOUNT…    `now` is spent in the window
//! open PATH N    deadline PATH T|none    grow PATH yes|no    level PATH LEVEL
//! binds PATH LEVEL [PATH RESOURCE]       what binds a call of that budget
//! events none | EVENT, EVENT…            what happened since the last such row
//! ```
//!
//! An `AMOUNT` is `tokens=5`, `cost=5` (nano-dollars) or `time=5` (microseconds); a number may
//! be `max`, `max-1`, …, and a limit `none`. `T` is `10s`. What follows `->` may be narrowed by
//! figures, `-> never root cost limit=10 spent=4 held=0 needed=7`, and after `ok` by the receipt,
//! `-> ok charged.cost=3 overrun.cost=1`. No `->` means `-> ok`.

use std::collections::HashMap;

use fisc_core::sharing::Sharing;
use fisc_core::{
    Amount, BudgetId, BudgetView, Calendar, Claim, Event, HoldId, Lendable, Level, Limits, Period,
    Permille, Receipt, Refusal, Resource, Restored, Shortfall, Span, State, Terms, TimeUs,
    Timestamp, Tree, TreeError, Weight, Window, Zone, invariants,
};

const SECOND: i64 = 1_000_000;

/// The rows that look at one budget.
const LOOKS: [&str; 17] = [
    "spent", "held", "own", "overrun", "deficit", "headroom", "idle", "open", "deadline", "grow",
    "level", "binds", "share", "now", "claim", "loaned", "carried",
];

/// Days from midnight to midnight, weeks of seven and months of thirty of them.
struct Days;

impl Calendar for Days {
    fn span(&self, period: Period, _zone: Zone, now: Timestamp) -> Span {
        let days = match period {
            Period::Daily => 1,
            Period::Weekly => 7,
            Period::Monthly => 30,
        };
        let length = days * 86_400 * SECOND;
        let start = Timestamp(now.0 - now.0.rem_euclid(length));
        let end = start.after(TimeUs(length));
        Span { start, end }
    }
}

/// A tree, its clock, and what a scenario has done to them so far.
#[derive(Default)]
pub(crate) struct Script {
    tree: Tree,
    now: Timestamp,
    holds: HashMap<String, HoldId>,
    events: Vec<Event>,
    /// How many rows were played.
    pub(crate) rows: usize,
}

/// What an operation answered, in the words of the scenario files.
struct Answer {
    text: String,
    figures: HashMap<String, i64>,
}

type Outcome<T> = Result<T, String>;

// === impl Script ===

impl Script {
    /// Plays one line of a file, or says what came out instead.
    pub(crate) fn row(&mut self, line: &str) -> Outcome<()> {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            return Ok(());
        }
        self.rows += 1;
        let (row, expected) = line.split_once("->").unwrap_or((line, "ok"));
        let words: Vec<&str> = row.split_whitespace().collect();
        let (verb, rest) = words.split_first().ok_or("an empty row")?;
        if self.tree.is_due(self.now) {
            self.tree.roll(self.now, &Days, &mut self.events);
        }
        if !self.look(verb, rest)? {
            let before = format!("{:?}", self.tree);
            let answer = self.operate(verb, rest)?;
            answer.compare(expected)?;
            // Where siblings share, a call that waits is a reason to divide anew.
            let shares = self.tree.shared_budgets().next().is_some();
            if !answer.text.starts_with("ok") && !shares && before != format!("{:?}", self.tree) {
                return Err("what was refused has changed the tree".to_owned());
            }
        }
        invariants::check(&self.tree).map_err(|violation| violation.to_string())
    }

    fn operate(&mut self, verb: &str, words: &[&str]) -> Outcome<Answer> {
        let (&first, rest) = words.split_first().unwrap_or((&"", &[]));
        match verb {
            "budget" => self.allocate(first, rest),
            "terms" => {
                let (id, terms) = (self.find(first)?, parse_terms(rest)?);
                let result = self.tree.set_terms(id, terms, &mut self.events);
                Ok(self.answer(result))
            }
            "hold" => self.hold(first, rest),
            "extend" => {
                let (id, by) = (self.hold_id(first), parse_amount(rest)?);
                let result = self.tree.extend(self.now, id, by);
                Ok(self.verdict(result))
            }
            "meter" => {
                let (id, so_far) = (self.hold_id(first), parse_amount(rest)?);
                let result = self.tree.meter(id, so_far, &mut self.events);
                Ok(self.answer(result))
            }
            "settle" => {
                let (id, actual) = (self.hold_id(first), parse_amount(rest)?);
                let result = self.tree.settle(id, actual, &mut self.events);
                Ok(self.receipt(result))
            }
            "void" => {
                let id = self.hold_id(first);
                let result = self.tree.void(id, &mut self.events);
                Ok(self.receipt(result))
            }
            "correct" => {
                let (id, by) = (self.find(first)?, parse_amount(rest)?);
                let result = self.tree.correct(self.now, id, by, &mut self.events);
                Ok(self.answer(result))
            }
            "tick" => {
                self.tree.tick(self.now, &mut self.events);
                Ok(Answer::plain("ok"))
            }
            "restart" => {
                self.tree = restarted(&self.tree)?;
                Ok(Answer::plain("ok"))
            }
            "fan" => self.fan(first, rest),
            "release" | "divide" | "expect" | "lend" => self.share(verb, first, rest),
            _ => Err(format!("no verb `{verb}`")),
        }
    }

    /// Plays a row that looks and changes nothing, or says that it is none.
    fn look(&mut self, verb: &str, words: &[&str]) -> Outcome<bool> {
        if verb == "at" {
            self.now = Timestamp(parse_seconds(word(words, 0)?)?.0);
            if self.tree.is_due(self.now) {
                self.tree.roll(self.now, &Days, &mut self.events);
            }
            return Ok(true);
        }
        if verb == "events" {
            let listed: Vec<String> = self.events.drain(..).map(|e| told(&self.tree, e)).collect();
            let found = if listed.is_empty() {
                "none".to_owned()
            } else {
                listed.join(", ")
            };
            return same(&found, &words.join(" ")).map(|()| true);
        }
        if !LOOKS.contains(&verb) {
            return Ok(false);
        }
        let id = self.find(word(words, 0)?)?;
        self.look_at(id, verb, &words[1..]).map(|()| true)
    }

    fn look_at(&self, id: BudgetId, verb: &str, words: &[&str]) -> Outcome<()> {
        let view = self.tree.budget(id).ok_or("no such budget")?;
        let amount = match verb {
            "spent" => view.spent,
            "held" => view.held,
            "own" => view.own_spent,
            "overrun" => view.overrun,
            "deficit" => view.deficit,
            "now" => view.window_spent,
            "claim" => view.claim,
            "loaned" => view.loaned,
            "carried" => view.carried,
            "share" => view.share.or(0),
            "headroom" | "idle" => {
                return self.look_at_headroom(id, verb, words);
            }
            "open" => return same(&view.open.to_string(), word(words, 0)?),
            "deadline" => {
                let found = view.deadline.map(|at| format!("{}s", at.0 / SECOND));
                return same(&found.unwrap_or("none".to_owned()), word(words, 0)?);
            }
            "grow" => {
                let found = if self.tree.may_grow(id) { "yes" } else { "no" };
                return same(found, word(words, 0)?);
            }
            "level" => return same(view.level().name(), word(words, 0)?),
            _ => return self.look_at_binding(id, words),
        };
        same(
            &format!("{amount:?}"),
            &format!("{:?}", parse_amount(words)?),
        )
    }

    fn share(&mut self, verb: &str, path: &str, words: &[&str]) -> Outcome<Answer> {
        let id = self.find(path)?;
        let result = match verb {
            "release" => self.tree.release(self.now, id, &mut self.events),
            "divide" => self.tree.rebalance(self.now, id, &mut self.events),
            "expect" => self.tree.expect(id, parse_limits(words)?),
            _ => {
                let (to, amount) = (self.find(word(words, 0)?)?, parse_amount(&words[1..])?);
                let lent = self.tree.lend(id, to, amount, &mut self.events);
                let Ok(lent) = lent else {
                    return Ok(self.answer(lent.map(|_| ())));
                };
                let mut answer = Answer::plain("ok");
                for resource in Resource::ALL {
                    let name = resource_word(resource).to_owned();
                    answer.figures.insert(name, lent.get(resource));
                }
                return Ok(answer);
            }
        };
        Ok(self.answer(result))
    }

    fn look_at_headroom(&self, id: BudgetId, which: &str, words: &[&str]) -> Outcome<()> {
        let finalize = words.contains(&"finalize");
        let words: Vec<&str> = words.iter().copied().filter(|w| *w != "finalize").collect();
        let headroom = self.tree.headroom(id, finalize);
        let found = match which {
            "headroom" => headroom.now,
            _ => headroom.idle,
        };
        let expected = parse_limits(&words)?.or(i64::MAX);
        same(&format!("{found:?}"), &format!("{expected:?}"))
    }

    fn look_at_binding(&self, id: BudgetId, words: &[&str]) -> Outcome<()> {
        let (level, budget, resource) = self.tree.binding_level(id);
        let mut found = level.name().to_owned();
        if level != Level::Green {
            let name = resource.map_or("elapsed", resource_word);
            found = format!("{found} {} {name}", self.tree.path(budget));
        }
        same(&found, &words.join(" "))
    }

    fn allocate(&mut self, path: &str, words: &[&str]) -> Outcome<Answer> {
        let terms = parse_terms(words)?;
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (Some(self.find(parent)?), name),
            None => (None, path),
        };
        let events = &mut self.events;
        let result = self.tree.allocate(self.now, parent, name, terms, events);
        Ok(self.answer(result.map(|_| ())))
    }

    fn fan(&mut self, path: &str, words: &[&str]) -> Outcome<Answer> {
        let parent = self.find(path)?;
        for index in 0..parse_number(word(words, 0)?)? {
            let (name, terms) = (format!("fan{index}"), Terms::default());
            self.tree
                .allocate(self.now, Some(parent), &name, terms, &mut self.events)
                .map_err(|error| error.to_string())?;
        }
        Ok(Answer::plain("ok"))
    }

    fn hold(&mut self, name: &str, words: &[&str]) -> Outcome<Answer> {
        let budget = self.find(word(words, 0)?)?;
        let finalize = words.contains(&"finalize");
        let amounts: Vec<&str> = words[1..]
            .iter()
            .copied()
            .filter(|w| *w != "finalize")
            .collect();
        let (id, amount) = (self.hold_id(name), parse_amount(&amounts)?);
        let events = &mut self.events;
        let result = self
            .tree
            .hold(self.now, id, budget, amount, finalize, events);
        Ok(self.verdict(result))
    }

    fn find(&self, path: &str) -> Outcome<BudgetId> {
        match path.strip_prefix("id:") {
            Some(number) => Ok(BudgetId(parse_number(number)? as u32)),
            None => self.tree.find(path).ok_or(format!("no budget `{path}`")),
        }
    }

    fn hold_id(&mut self, name: &str) -> HoldId {
        let next = HoldId(self.holds.len() as u128 + 1);
        *self.holds.entry(name.to_owned()).or_insert(next)
    }

    fn answer(&self, result: Result<(), TreeError>) -> Answer {
        match result {
            Ok(()) => Answer::plain("ok"),
            Err(error) => self.error(error),
        }
    }

    fn verdict(&self, result: Result<Result<(), Refusal>, TreeError>) -> Answer {
        match result {
            Ok(Ok(())) => Answer::plain("ok"),
            Ok(Err(Refusal::NotNow(short))) => self.short("not-now", short),
            Ok(Err(Refusal::Never(short))) => self.short("never", short),
            Ok(Err(Refusal::PerCall(short))) => self.short("per-call", short),
            Ok(Err(Refusal::Deadline(at))) => {
                Answer::plain(&format!("deadline {}", self.tree.path(at)))
            }
            Ok(Err(Refusal::Throttled(..))) => panic!("the tree slows nobody"),
            Ok(Err(Refusal::Frozen(at))) => {
                Answer::plain(&format!("frozen {}", self.tree.path(at)))
            }
            Ok(Err(Refusal::Released(at))) => {
                Answer::plain(&format!("released {}", self.tree.path(at)))
            }
            Err(error) => self.error(error),
        }
    }

    fn receipt(&self, result: Result<Receipt, TreeError>) -> Answer {
        let receipt = match result {
            Ok(receipt) => receipt,
            Err(error) => return self.error(error),
        };
        let mut answer = Answer::plain("ok");
        let parts = [
            ("held", receipt.held),
            ("charged", receipt.charged),
            ("overrun", receipt.overrun),
        ];
        for (part, amount) in parts {
            for resource in Resource::ALL {
                let name = format!("{part}.{}", resource_word(resource));
                answer.figures.insert(name, amount.get(resource));
            }
        }
        answer
            .figures
            .insert("voided".to_owned(), receipt.voided.into());
        answer
    }

    fn error(&self, error: TreeError) -> Answer {
        let text = match error {
            TreeError::UnknownBudget(_) => "unknown-budget",
            TreeError::UnknownHold(_) => "unknown",
            TreeError::Conflict(_) => "conflict",
            TreeError::NameTaken(_) => "name-taken",
            TreeError::Name(_) => "bad-name",
            TreeError::Negative => "negative",
            TreeError::OutOfRange => "out-of-range",
            TreeError::DoesNotFit(short) => return self.short("does-not-fit", short),
            TreeError::GuaranteeAboveLimit => "guarantee-above-limit",
            TreeError::StaticWithoutLimit => "static-without-limit",
            TreeError::TooDeep => "too-deep",
            TreeError::TooManyChildren => "too-many-children",
            TreeError::Released(_) => "released",
            TreeError::CallsRunning(_) => "calls-running",
            TreeError::LevelsOutOfOrder => "levels-out-of-order",
            TreeError::ElapsedOnWindow => "elapsed-on-window",
            TreeError::NotSiblings => "not-siblings",
            TreeError::UnlikeTerms => "unlike-terms",
            TreeError::LoanCycle => "loan-cycle",
            TreeError::NothingToLend => "nothing-to-lend",
        };
        Answer::plain(text)
    }

    fn short(&self, kind: &str, short: Shortfall) -> Answer {
        let (path, resource) = (self.tree.path(short.budget), resource_word(short.resource));
        let mut answer = Answer::plain(&format!("{kind} {path} {resource}"));
        for (name, units) in [
            ("limit", short.limit),
            ("spent", short.spent),
            ("held", short.held),
            ("needed", short.needed),
        ] {
            answer.figures.insert(name.to_owned(), units);
        }
        answer
    }
}

// === impl Answer ===

impl Answer {
    fn plain(text: &str) -> Answer {
        Answer {
            text: text.to_owned(),
            figures: HashMap::new(),
        }
    }

    fn compare(&self, expected: &str) -> Outcome<()> {
        let is_figure = |word: &&str| word.contains('=');
        let (figures, text): (Vec<&str>, Vec<&str>) =
            expected.split_whitespace().partition(is_figure);
        same(&self.text, &text.join(" "))?;
        for figure in figures {
            let (name, units) = figure.split_once('=').ok_or("a figure has a value")?;
            let found = self
                .figures
                .get(name)
                .ok_or(format!("no figure `{name}`"))?;
            if *found != parse_number(units)? {
                return Err(format!("found {name}={found}"));
            }
        }
        Ok(())
    }
}

/// Rebuilds a tree from what a journal keeps, and compares everything that must survive. The
/// record of past deficits and a level held up by hysteresis do not.
pub(crate) fn restarted(live: &Tree) -> Outcome<Tree> {
    let mut tree = Tree::default();
    for view in live.budgets() {
        let mut metered = Amount::ZERO;
        for hold in live.holds().filter(|hold| hold.budget == view.id) {
            metered = metered.checked_add(hold.metered).expect("part of a sum");
        }
        let row = Restored {
            id: view.id,
            parent: view.parent,
            name: view.name,
            terms: *view.terms,
            allocated: view.allocated,
            own_spent: view.own_spent.checked_sub(metered).expect("part of a sum"),
            overrun: view.overrun,
            kept: live.kept(view.id),
        };
        tree.restore(&row).map_err(|error| error.to_string())?;
    }
    let kept = live.budgets().map(|view| (view.id, live.kept(view.id)));
    tree.restore_windows(kept);
    for loan in live.loans() {
        tree.restore_loan(*loan);
    }
    for hold in live.holds() {
        tree.restore_hold(hold.opened, hold.id, hold.budget, hold.amount)
            .map_err(|error| error.to_string())?;
    }
    // A meter reading is no entry of a journal: it comes again with the stream.
    for hold in live.holds() {
        tree.meter(hold.id, hold.metered, &mut Vec::new())
            .map_err(|error| error.to_string())?;
    }
    for view in live.budgets() {
        let again = tree.budget(view.id).ok_or("a budget is lost")?;
        same(&survives(&tree, &again), &survives(live, &view))?;
    }
    Ok(tree)
}

fn survives(tree: &Tree, view: &BudgetView<'_>) -> String {
    let rooms = [false, true].map(|finalize| {
        let room = tree.headroom(view.id, finalize);
        (room.now, room.idle, room.per_call, room.open)
    });
    format!(
        "{} {:?} deadline {:?} per call {:?} own {:?} {:?} spent {:?} held {:?} overrun {:?} {:?}",
        tree.path(view.id),
        view.terms,
        view.deadline,
        view.per_call,
        view.own_spent,
        view.own_held,
        view.spent,
        view.held,
        view.overrun,
        rooms
    )
}

fn told(tree: &Tree, event: Event) -> String {
    match event {
        Event::LevelChanged {
            budget,
            resource,
            from,
            to,
        } => {
            let resource = resource.map_or("elapsed", resource_word);
            let (path, from, to) = (tree.path(budget), from.name(), to.name());
            format!("{path} {resource} {from}>{to}")
        }
        Event::Overrun { budget, by } => {
            let mut words = vec![tree.path(budget), "overrun".to_owned()];
            for resource in Resource::ALL.into_iter().filter(|r| by.get(*r) != 0) {
                words.push(format!("{}={}", resource_word(resource), by.get(resource)));
            }
            words.join(" ")
        }
        Event::Finalize { budget } => format!("{} finalize", tree.path(budget)),
        Event::Released { budget } => format!("{} released", tree.path(budget)),
        Event::Lent {
            lender, borrower, ..
        } => format!("{} lent {}", tree.path(lender), tree.path(borrower)),
        Event::WindowBegan { budget, span, .. } => {
            format!("{} window {}s", tree.path(budget), span.start.0 / SECOND)
        }
        Event::Frozen { .. }
        | Event::Forecast { .. }
        | Event::Runaway { .. }
        | Event::Asked { .. }
        | Event::Answered { .. } => {
            unreachable!("no tree says so")
        }
    }
}

fn same(found: &str, expected: &str) -> Outcome<()> {
    if found == expected {
        return Ok(());
    }
    Err(format!("found    {found}\n  expected {expected}"))
}

fn word<'a>(words: &[&'a str], index: usize) -> Outcome<&'a str> {
    words
        .get(index)
        .copied()
        .ok_or("a word is missing".to_owned())
}

fn resource_word(resource: Resource) -> &'static str {
    ["tokens", "cost", "time"][resource.index()]
}

fn parse_resource(name: &str) -> Outcome<Resource> {
    let named = |resource: &Resource| resource_word(*resource) == name;
    let found = Resource::ALL.into_iter().find(named);
    found.ok_or(format!("no resource `{name}`"))
}

fn parse_number(text: &str) -> Outcome<i64> {
    if let Some(below) = text.strip_prefix("max") {
        let below = below.strip_prefix('-').unwrap_or("0");
        return parse_number(below).map(|below| i64::MAX - below);
    }
    text.parse().map_err(|_| format!("no number `{text}`"))
}

fn parse_seconds(text: &str) -> Outcome<TimeUs> {
    let seconds = text.strip_suffix('s').ok_or("time ends with `s`")?;
    parse_number(seconds).map(|seconds| TimeUs(seconds * SECOND))
}

fn parse_limit(limits: Limits, name: &str, value: &str) -> Outcome<Limits> {
    let limit = match value {
        "none" => None,
        number => Some(parse_number(number)?),
    };
    Ok(limits.with(parse_resource(name)?, limit))
}

fn parse_limits(words: &[&str]) -> Outcome<Limits> {
    words.iter().try_fold(Limits::NONE, |limits, word| {
        let (name, value) = word.split_once('=').ok_or("a limit has a value")?;
        parse_limit(limits, name, value)
    })
}

fn parse_amount(words: &[&str]) -> Outcome<Amount> {
    parse_limits(words).map(|limits| limits.or(0))
}

/// Reads a term about sharing or windows, or says that it is none.
fn parse_sharing(terms: &mut Terms, name: &str, value: &str) -> Outcome<bool> {
    let percent = || -> Outcome<Permille> {
        let percent = value.strip_suffix('%').ok_or("a share ends with %")?;
        Ok(Permille(parse_number(percent)? as u16 * 10))
    };
    match name {
        "keep" if value == "auto" => terms.claim = Claim::Automatic,
        "share" => {
            terms.sharing = match value {
                "pool" => Sharing::Pool,
                "equal" => Sharing::Equal,
                "priority" => Sharing::Priority,
                "proportional" => Sharing::Proportional,
                "fair" => Sharing::Fair,
                "dynamic" => Sharing::Dynamic,
                "auction" => Sharing::Auction,
                _ => return Err(format!("no sharing `{value}`")),
            }
        }
        "weight" => terms.weight = Weight(parse_number(value)? as u16),
        "lendable" => terms.lendable = Lendable(percent()?),
        "window" => {
            terms.window = match value {
                "daily" => calendar(Period::Daily),
                "weekly" => calendar(Period::Weekly),
                "monthly" => calendar(Period::Monthly),
                span => Window::Rolling(parse_seconds(span)?),
            }
        }
        "roll-over" => match &mut terms.window {
            Window::Calendar { roll_over, .. } => *roll_over = percent()?,
            _ => return Err("`roll-over` follows the window".to_owned()),
        },
        _ => match name.strip_prefix("need.") {
            Some(name) => terms.need = parse_limit(terms.need, name, value)?,
            None => return Ok(false),
        },
    }
    Ok(true)
}

fn calendar(period: Period) -> Window {
    Window::Calendar {
        period,
        zone: Zone::UTC,
        roll_over: Permille(0),
    }
}

fn parse_terms(words: &[&str]) -> Outcome<Terms> {
    let (mut terms, mut kept) = (Terms::default(), Limits::NONE);
    for word in words {
        if *word == "static" {
            terms.claim = Claim::Limit;
            continue;
        }
        if *word == "frozen" {
            terms.state = State::Frozen;
            continue;
        }
        let (name, value) = word.split_once('=').ok_or(format!("no term `{word}`"))?;
        if name == "elapsed" {
            terms.elapsed = Some(parse_seconds(value)?);
        } else if name == "reserve" {
            let percent = value.strip_suffix('%').ok_or("a reserve ends with %")?;
            terms.reserve = Permille(parse_number(percent)? as u16 * 10);
        } else if parse_sharing(&mut terms, name, value)? {
            // It was one of those.
        } else if let Some(name) = name.strip_prefix("keep.") {
            kept = parse_limit(kept, name, value)?;
            terms.claim = Claim::Guarantee(kept.or(0));
        } else if let Some(name) = name.strip_prefix("call.") {
            terms.per_call = parse_limit(terms.per_call, name, value)?;
        } else {
            terms.limits = parse_limit(terms.limits, name, value)?;
        }
    }
    Ok(terms)
}
