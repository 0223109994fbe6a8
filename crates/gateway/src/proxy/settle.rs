//! Settle: what a call is charged, exactly once, and what it teaches.
//!
//! A [`Call`] owns its hold. Settling applies the charge to the books at once and returns a
//! future that waits until it is written, so that whoever stops waiting loses nothing. A call
//! that is dropped unsettled is charged an estimate by its drop.

use std::sync::Arc;
use std::time::Duration;

use fisc::{CallLabel, Charge, Error, Facts, Hold, Outcome, Refusal, Settled, clock};
use fisc_core::{Amount, BudgetId, Money, TimeUs, TokenClass, Tokens, Usage};
use fisc_llm::{Progress, Reported, Wire};

use crate::policy::OnDisconnect;
use crate::proxy::authorize::Asked;
use crate::state::{Paid, State};

/// How long before its hold of active time is used up a call is ended, so that the end itself
/// still fits.
const END_MARGIN: Duration = Duration::from_millis(20);

/// More bytes than any tokenizer packs into a token on average: fewer tokens than this for the
/// text that was seen are no report.
const BYTES_PER_TOKEN_MAX: u64 = 24;

/// How many bytes of text a token usually stands for; only for what levels show meanwhile.
const BYTES_PER_TOKEN_USUAL: u64 = 4;

/// How much a stream puts out before it is counted anew.
const METER_BYTES: u64 = 1024;

/// Texts shorter than this prove nothing about a report.
const PROOF_BYTES_MIN: u64 = 512;

/// How many output tokens a stream that outgrows its hold is granted at a time.
const EXTENSION_TOKENS: u64 = 256;

/// How much active time a call that runs on is granted at a time, at most: otherwise as much as
/// it holds already.
const EXTENSION_TIME: TimeUs = TimeUs(1_000_000);

/// Less time than this is not worth an entry in the ledger.
const EXTENSION_TIME_MIN: TimeUs = TimeUs(10_000);

/// A call with less time than this left does not ask for more before that is over.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(2);

/// How the wires say that an answer ended at its cap.
const CUT_REASONS: [&str; 2] = ["length", "max_tokens"];

/// Above this no report is believed: a call's charge is then its hold, and an estimate.
const USAGE_MAX: u64 = 100_000_000;

/// One attempt that is under way.
pub(crate) struct Call {
    state: Arc<State>,
    /// Taken out when the call ends.
    hold: Option<Hold>,
    asked: Asked,
    /// What it tells its agent, where that is not paid by the call.
    notice: Option<Paid>,
    /// The output tokens that were asked for at most, all choices together.
    promised: u64,
    /// The output tokens that the hold covers: those, and what it was enlarged by.
    covered: u64,
    /// What its stream has put out so far.
    put_out: Progress,
    /// How much of it was counted as spent.
    metered_bytes: u64,
}

/// Who pays a call.
pub(crate) struct Payer {
    /// The budget.
    pub(crate) budget: BudgetId,
    /// The path of the budget that the caller's secret stands for.
    pub(crate) root: Arc<str>,
    /// What was changed of the request; empty for nothing.
    pub(crate) changed: String,
}

/// Why a call may not run on.
pub(crate) enum TimeUp {
    /// It took as long as any call may.
    CallTime,
    /// No more time could be held.
    Budget(Error),
}

// === impl Call ===

impl Call {
    /// Marks the call as begun: from here on the provider may bill it.
    pub(crate) fn begin(state: Arc<State>, mut hold: Hold, asked: Asked) -> Call {
        hold.begin();
        let promised = asked.output_cap.saturating_mul(asked.choices);
        Call {
            state,
            hold: Some(hold),
            asked,
            notice: None,
            promised,
            covered: promised,
            put_out: Progress::default(),
            metered_bytes: 0,
        }
    }

    /// Lets the budget of Fisc pay what was added to tell the agent, if it can.
    pub(crate) async fn pay_notice(&mut self, tokens: u64) {
        let State { fisc, upkeep, .. } = &*self.state;
        let amount = self.asked.pricing.input(tokens, fisc.counting());
        let paid = upkeep.pay(fisc, self.hold().call(), amount).await;
        self.notice = paid;
    }

    /// Returns what was asked for.
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Returns who pays, for when the call is over.
    pub(crate) fn payer(&self) -> Payer {
        Payer {
            budget: self.budget(),
            root: self.asked.root(),
            changed: self.asked.changed.clone(),
        }
    }

    fn budget(&self) -> BudgetId {
        self.hold().budget()
    }

    /// Returns what is done when the client goes away.
    pub(crate) fn on_disconnect(&self) -> OnDisconnect {
        self.state.policy.on_disconnect
    }

    /// Returns how long the call may still run.
    pub(crate) fn time_left(&self) -> Duration {
        let held = self.held_left();
        self.deadline_left().map_or(held, |left| held.min(left))
    }

    fn held_left(&self) -> Duration {
        let left = self.hold().amount().time().0 - self.hold().running().0;
        Duration::from_micros(left.max(0).unsigned_abs()).saturating_sub(END_MARGIN)
    }

    fn deadline_left(&self) -> Option<Duration> {
        let left = self.asked.deadline?.since(self.state.fisc.now()).0;
        Some(Duration::from_micros(left.unsigned_abs()))
    }

    /// Counts what a chunk of its stream added, and says whether the stream has certainly put out
    /// more than its hold covers: its provider does not honour the cap.
    pub(crate) fn outgrown(&mut self, added: Progress) -> bool {
        self.put_out.output_bytes += added.output_bytes;
        self.put_out.output_events += added.output_events;
        if self.put_out.output_bytes - self.metered_bytes >= METER_BYTES {
            self.metered_bytes = self.put_out.output_bytes;
            self.meter();
        }
        let least = self.least_output(self.put_out.output_bytes, self.put_out.output_events);
        least > self.covered
    }

    /// Counts what the stream has put out so far as spent, so that levels move while it runs. An
    /// estimate that the settlement replaces.
    fn meter(&self) {
        let output = (self.put_out.output_bytes / BYTES_PER_TOKEN_USUAL).min(self.covered);
        let usage = Usage::default().with(TokenClass::Output, output);
        let tokens = usage.count(self.state.fisc.counting());
        let time = self.hold().running();
        let cost = self
            .asked
            .pricing
            .charge(&usage, None, time)
            .unwrap_or(Money::ZERO);
        self.hold().meter(Amount::new(tokens, cost, time));
    }

    /// Tries to hold more output for a stream that has outgrown its hold.
    pub(crate) async fn extend_output(&mut self) -> bool {
        let usage = Usage::default().with(TokenClass::Output, EXTENSION_TOKENS);
        let tokens = usage.count(self.state.fisc.counting());
        let cost = self.asked.dearest_output(EXTENSION_TOKENS);
        let granted = self
            .hold_mut()
            .extend(Amount::new(tokens, cost, TimeUs(0)))
            .await
            .is_ok();
        if granted {
            self.covered += EXTENSION_TOKENS;
        }
        granted
    }

    /// Tries to hold more active time for a call that runs longer than was held, up to the time
    /// that any call may take.
    pub(crate) async fn extend_time(&mut self) -> Result<(), TimeUp> {
        if self.deadline_left() == Some(Duration::ZERO) {
            let path = self.state.fisc.path(self.budget());
            let refusal = Refusal::Deadline(self.budget());
            return Err(TimeUp::Budget(Error::Refused { path, refusal }));
        }
        let held = self.hold().amount().time().0;
        let TimeUs(most) = clock::span(self.state.policy.call_time);
        let slice = EXTENSION_TIME.0.min(held).min(most.saturating_sub(held));
        if slice <= 0 {
            return Err(TimeUp::CallTime);
        }
        let Err(refused) = self.extend_time_by(TimeUs(slice)).await else {
            return Ok(());
        };
        let free = self.state.fisc.headroom(self.budget()).map(|room| {
            let per_call = room.per_call.time().0.saturating_sub(held);
            room.now.time().0.min(per_call)
        });
        match free {
            Some(free) if (EXTENSION_TIME_MIN.0..slice).contains(&free) => {
                self.extend_time_by(TimeUs(free)).await
            }
            _ => Err(refused),
        }
    }

    async fn extend_time_by(&mut self, by: TimeUs) -> Result<(), TimeUp> {
        let held = self.hold().amount().time().0;
        let charge = |time| self.asked.pricing.charge(&Usage::default(), None, time);
        let (before, after) = (charge(TimeUs(held)), charge(TimeUs(held + by.0)));
        let cost = after.zip(before).map_or(Money::ZERO, |(after, before)| {
            Money::from_nanos(after.nanos().saturating_sub(before.nanos()))
        });
        let by = Amount::new(Tokens(0), cost, by);
        self.hold_mut().extend(by).await.map_err(TimeUp::Budget)
    }

    /// Runs what the call waits for until its time is up. More time is asked for before what is
    /// held is over, so that there is time to ask again when others hold all of it.
    pub(crate) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, TimeUp> {
        tokio::pin!(work);
        loop {
            let left = self.time_left();
            let extendable = self.deadline_left().is_none_or(|deadline| deadline > left);
            let asks = extendable && left > ASK_AGAIN_MIN;
            let pause = if asks { left / 5 * 4 } else { left };
            if let Ok(done) = tokio::time::timeout(pause, &mut work).await {
                return Ok(done);
            }
            if let Err(why) = self.extend_time().await
                && self.time_left().is_zero()
            {
                return Err(why);
            }
        }
    }

    /// Charges what the call did cost and learns from it. Applied when this returns; the
    /// returned future waits until it is written, and says what the call did cost.
    pub(crate) fn settle(
        mut self,
        reported: &Reported,
        outcome: Outcome,
    ) -> impl Future<Output = Money> + Send + use<> {
        let (usage, estimated) = self.usage(reported);
        let outcome = match outcome {
            Outcome::Completed if reported.error => Outcome::UpstreamError,
            outcome => outcome,
        };
        let mut charge = self.charge(usage, estimated, outcome, reported);
        if let Some(notice) = self.notice.take() {
            let (call, agent) = (self.hold().id(), self.state.fisc.path(self.budget()));
            charge = notice.take_over(charge, call, &agent);
        }
        if !estimated {
            let cut = reported
                .finish
                .as_deref()
                .is_some_and(|why| CUT_REASONS.contains(&why));
            self.asked.teach(
                &mut self.state.learned(),
                &usage,
                self.hold().running(),
                cut,
            );
        }
        self.finish(charge)
    }

    /// Ends a call that the provider refused or failed before it generated anything: nothing is
    /// charged but the time.
    pub(crate) fn fail(self) -> impl Future<Output = Money> + Send + use<> {
        let reported = Reported::default();
        let mut charge = self.charge(Usage::default(), false, Outcome::UpstreamError, &reported);
        charge.amount = Amount::new(Tokens(0), Money::ZERO, charge.amount.time());
        self.finish(charge)
    }

    /// Ends a call of which certainly no byte was sent.
    pub(crate) fn void(mut self, reason: &str) {
        let hold = self.take_hold();
        if let Err(error) = hold.void(reason) {
            tracing::error!(%error, "a hold could not be voided");
        }
    }

    fn finish(mut self, charge: Charge) -> impl Future<Output = Money> + Send + use<> {
        let cost = charge.amount.cost();
        let settled = self.take_hold().settle(charge);
        if let Ok(Settled { receipt, .. }) = &settled
            && receipt.charged.max(receipt.held) != receipt.held
        {
            self.state.traffic.count_breach();
        }
        async move {
            written(settled).await;
            cost
        }
    }

    fn hold(&self) -> &Hold {
        self.hold
            .as_ref()
            .expect("a call has its hold until it ends")
    }

    fn hold_mut(&mut self) -> &mut Hold {
        self.hold
            .as_mut()
            .expect("a call has its hold until it ends")
    }

    fn take_hold(&mut self) -> Hold {
        let hold = self.hold.take().expect("a call ends once");
        let State { traffic, fisc, .. } = &*self.state;
        traffic.count_ended(hold.budget(), fisc.ticks());
        hold
    }

    fn charge(
        &self,
        usage: Usage,
        estimated: bool,
        outcome: Outcome,
        reported: &Reported,
    ) -> Charge {
        let duration = self.hold().running();
        // The call was ended when its hold was over: what passed until the end was noticed is
        // ours, so that not even a machine that stands still takes a budget over its limit.
        let time = duration.min(self.hold().amount().time());
        let (served, asked) = (&reported.service_tier, self.asked.service_tier.as_deref());
        let pricing = &self.asked.pricing;
        let cost = match served {
            Some(served) => pricing.charge(&usage, Some(served), time),
            None if estimated => pricing.charge_untold(&usage, asked, time),
            // Who reports usage and no tier has none.
            None => pricing.charge(&usage, asked, time),
        };
        let tokens = usage.count(self.state.fisc.counting());
        let amount = match cost {
            Some(cost) => Amount::new(tokens, cost, time),
            // Out of range: what was held is the best that is known.
            None => Amount::new(tokens, self.hold().amount().cost(), time),
        };
        let call = CallLabel {
            model: match &reported.model {
                Some(model) => model.as_str().into(),
                None => self.hold().call().model.clone(),
            },
            ..self.hold().call().clone()
        };
        let estimated = estimated || cost.is_none() || self.asked.pricing.is_estimate();
        let tags = self.asked.tags.clone();
        let facts = Facts {
            call,
            usage,
            estimated,
            outcome,
            duration,
            tags,
        };
        Charge {
            amount,
            facts: Box::new(facts),
        }
    }

    /// Decides what was used: the report where it is whole and can be, else an estimate that is
    /// never below what was seen.
    fn usage(&self, reported: &Reported) -> (Usage, bool) {
        let mut usage = reported.usage.unwrap_or_default();
        let believable = usage.input() <= USAGE_MAX && usage.output() <= USAGE_MAX;
        let proven = reported.output_bytes / BYTES_PER_TOKEN_MAX;
        let enough = reported.output_bytes < PROOF_BYTES_MIN || usage.output() >= proven;
        if reported.complete && believable && enough {
            return (usage, false);
        }
        // No request has no input: whoever says so does not count.
        if !reported.input_seen || !believable || usage.input() == 0 {
            usage = Usage::default().with(TokenClass::UncachedInput, self.asked.input.tokens);
        }
        // Nothing seen of an answer says nothing about its length: it may have broken off late,
        // or while the model reasoned in secret.
        let unseen = reported.output_bytes == 0;
        let most = if unseen {
            self.covered
        } else {
            let least = self.least_output(reported.output_bytes, reported.output_events);
            // No token is shorter than a byte. A provider bounds it by its cap, too, until it is
            // caught beyond that: then it keeps to none.
            if least > self.promised {
                reported.output_bytes.max(least)
            } else {
                reported.output_bytes.min(self.promised)
            }
        };
        let output = if believable {
            usage.output().max(most)
        } else {
            most
        };
        usage.set(TokenClass::Output, output);
        (usage, true)
    }

    /// The fewest tokens that what was seen can be. On OpenAI's wire every event with text
    /// carries a token or more.
    fn least_output(&self, bytes: u64, events: u64) -> u64 {
        let by_bytes = bytes / BYTES_PER_TOKEN_MAX;
        match self.asked.wire {
            Wire::OpenAiChat => by_bytes.max(events),
            Wire::AnthropicMessages => by_bytes,
        }
    }
}

impl Drop for Call {
    /// Cancelled before its answer was there, or its task panicked: nobody knows what it did
    /// cost, but what it put out and how long it took.
    fn drop(&mut self) {
        if self.hold.is_none() {
            return;
        }
        let seen = Reported {
            output_bytes: self.put_out.output_bytes,
            output_events: self.put_out.output_events,
            ..Reported::default()
        };
        let outcome = if std::thread::panicking() {
            Outcome::Broken
        } else {
            Outcome::ClientGone
        };
        let (usage, _) = self.usage(&seen);
        let charge = self.charge(usage, true, outcome, &seen);
        if let Err(error) = self.take_hold().settle(charge) {
            tracing::error!(%error, "a call that was dropped is not settled");
        }
    }
}

/// Waits until a settlement is written.
pub(crate) async fn written(settled: Result<Settled, Error>) {
    let written = match settled {
        Ok(settled) => settled.durable().await.map(|_| ()),
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        tracing::error!(%error, "a settlement is not written");
    }
}
