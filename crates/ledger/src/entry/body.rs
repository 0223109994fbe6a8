//! The part of an entry that has no column of its own, as JSON. Absent fields keep their default,
//! so a later release may add some; the text is hashed as written and never rewritten.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use fisc_core::{Amount, BudgetId, HoldId, TimeUs, TokenClass, Usage};
use serde::{Deserialize, Serialize};

use super::{CallLabel, Entry, Facts, Kind, Outcome};

/// The columns that, with the body, make an entry.
pub(crate) struct Columns {
    pub(crate) budget: BudgetId,
    pub(crate) hold: Option<HoldId>,
    pub(crate) amount: Amount,
    pub(crate) overrun: Amount,
}

#[derive(Serialize, Deserialize)]
struct AllocateBody<'a> {
    parent: Option<u32>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    terms: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct TermsBody<'a> {
    #[serde(borrow)]
    terms: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct LabelBody<'a> {
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    provider: Cow<'a, str>,
    #[serde(borrow)]
    price_version: Cow<'a, str>,
    attempt: u32,
    bounded: bool,
}

#[derive(Serialize, Deserialize)]
struct SettleBody<'a> {
    #[serde(borrow)]
    call: LabelBody<'a>,
    usage: UsageBody,
    #[serde(default, skip_serializing_if = "is_false")]
    estimated: bool,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    duration_us: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

#[derive(Serialize, Deserialize)]
struct VoidBody<'a> {
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct CorrectBody<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

/// Usage as `{"input":12,"output":3}`: what is zero is left out.
struct UsageBody(Usage);

/// Appends the entry's body to `out`.
pub(crate) fn encode(entry: &Entry, out: &mut Vec<u8>) {
    match entry {
        Entry::Allocate {
            parent,
            name,
            terms,
            ..
        } => {
            let parent = parent.map(|id| id.0);
            write(
                &AllocateBody {
                    parent,
                    name: name.into(),
                    terms: terms.into(),
                },
                out,
            );
        }
        Entry::Terms { terms, .. } => write(
            &TermsBody {
                terms: terms.into(),
            },
            out,
        ),
        Entry::Hold { call, .. } => encode_label(call, out),
        Entry::Extend { .. } | Entry::Doubt { .. } => out.extend_from_slice(b"{}"),
        Entry::Settle { facts, .. } => write(&SettleBody::from(&**facts), out),
        Entry::Void { reason, .. } => write(
            &VoidBody {
                reason: reason.into(),
            },
            out,
        ),
        Entry::Correct { usage, reason, .. } => {
            write(
                &CorrectBody {
                    usage: usage.map(UsageBody),
                    reason: reason.into(),
                },
                out,
            );
        }
    }
}

/// Appends a label as JSON to `out`.
pub(crate) fn encode_label(call: &CallLabel, out: &mut Vec<u8>) {
    write(&LabelBody::from(call), out);
}

/// Reads a label, or says what is wrong with it.
pub(crate) fn decode_label(text: &str) -> Result<CallLabel, String> {
    read::<LabelBody<'_>>(text).map(CallLabel::from)
}

/// Makes the entry again from its columns and body, or says what is wrong with them.
pub(crate) fn decode(kind: Kind, columns: &Columns, text: &str) -> Result<Entry, String> {
    let Columns {
        budget,
        hold,
        amount,
        overrun,
    } = *columns;
    let id = || hold.ok_or_else(|| format!("a {} without a hold", kind.name()));
    Ok(match kind {
        Kind::Allocate => {
            let AllocateBody {
                parent,
                name,
                terms,
            } = read(text)?;
            let parent = parent.map(BudgetId);
            Entry::Allocate {
                budget,
                parent,
                name: name.into(),
                terms: terms.into(),
            }
        }
        Kind::Terms => Entry::Terms {
            budget,
            terms: read::<TermsBody<'_>>(text)?.terms.into(),
        },
        Kind::Hold => Entry::Hold {
            id: id()?,
            budget,
            amount,
            call: decode_label(text)?,
        },
        Kind::Extend => Entry::Extend {
            id: id()?,
            by: amount,
        },
        Kind::Settle => {
            let facts = Box::new(Facts::try_from(read::<SettleBody<'_>>(text)?)?);
            Entry::Settle {
                id: id()?,
                amount,
                overrun,
                facts,
            }
        }
        Kind::Void => Entry::Void {
            id: id()?,
            reason: read::<VoidBody<'_>>(text)?.reason.into(),
        },
        Kind::Doubt => Entry::Doubt {
            id: id()?,
            charged: amount,
        },
        Kind::Correct => {
            let CorrectBody { usage, reason } = read(text)?;
            let usage = usage.map(|body| body.0);
            Entry::Correct {
                id: id()?,
                by: amount,
                usage,
                reason: reason.into(),
            }
        }
    })
}

fn write(body: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, body).expect("plain data always serializes into memory");
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

// === impl LabelBody ===

impl<'a> From<&'a CallLabel> for LabelBody<'a> {
    fn from(call: &'a CallLabel) -> LabelBody<'a> {
        LabelBody {
            operation: (&*call.operation).into(),
            model: (&*call.model).into(),
            provider: (&*call.provider).into(),
            price_version: (&*call.price_version).into(),
            attempt: call.attempt,
            bounded: call.bounded,
        }
    }
}

impl From<LabelBody<'_>> for CallLabel {
    fn from(body: LabelBody<'_>) -> CallLabel {
        CallLabel {
            operation: body.operation.into(),
            model: body.model.into(),
            provider: body.provider.into(),
            price_version: body.price_version.into(),
            attempt: body.attempt,
            bounded: body.bounded,
        }
    }
}

// === impl SettleBody ===

impl<'a> From<&'a Facts> for SettleBody<'a> {
    fn from(facts: &'a Facts) -> SettleBody<'a> {
        let pair = |(key, value): &'a (Arc<str>, Arc<str>)| ((&**key).into(), (&**value).into());
        SettleBody {
            call: (&facts.call).into(),
            usage: UsageBody(facts.usage),
            estimated: facts.estimated,
            outcome: facts.outcome.name().into(),
            duration_us: facts.duration.0,
            tags: facts.tags.iter().map(pair).collect(),
        }
    }
}

impl TryFrom<SettleBody<'_>> for Facts {
    type Error = String;

    fn try_from(body: SettleBody<'_>) -> Result<Facts, String> {
        let outcome = Outcome::parse(&body.outcome)
            .ok_or_else(|| format!("unknown outcome {:?}", body.outcome))?;
        let pair = |(key, value): (Cow<'_, str>, Cow<'_, str>)| (key.into(), value.into());
        Ok(Facts {
            call: body.call.into(),
            usage: body.usage.0,
            estimated: body.estimated,
            outcome,
            duration: TimeUs(body.duration_us),
            tags: body.tags.into_iter().map(pair).collect(),
        })
    }
}

// === impl UsageBody ===

impl Serialize for UsageBody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let usage = &self.0;
        let classes = TokenClass::ALL
            .iter()
            .map(|class| (class.name(), usage.get(*class)));
        let others = [
            ("reasoning", usage.reasoning),
            ("searches", usage.units.searches),
        ];
        serializer.collect_map(classes.chain(others).filter(|(_, count)| *count != 0))
    }
}

impl<'de> Deserialize<'de> for UsageBody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<UsageBody, D::Error> {
        let mut usage = Usage::default();
        for (name, count) in BTreeMap::<Cow<'de, str>, u64>::deserialize(deserializer)? {
            match TokenClass::ALL.iter().find(|class| class.name() == name) {
                Some(class) => usage.set(*class, count),
                None if name == "reasoning" => usage.reasoning = count,
                None if name == "searches" => usage.units.searches = count,
                None => return Err(serde::de::Error::custom(format!("unknown usage {name:?}"))),
            }
        }
        Ok(UsageBody(usage))
    }
}
