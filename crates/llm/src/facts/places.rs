//! Where in a body the members stand that may be edited.

use std::ops::Range;

use crate::json::Kind;

/// Where the members stand that may be edited.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// Offset after the opening brace.
    pub(super) open: usize,
    pub(super) model: Range<usize>,
    pub(super) max_tokens: Option<Slot>,
    pub(super) max_completion_tokens: Option<Slot>,
    pub(super) stream_options: Option<OptionsPlace>,
    /// The value of `n`, where it asks for more than one.
    pub(super) choices: Option<Range<usize>>,
    /// How hard the model is to think, where that is more than a little.
    pub(super) effort: Option<Range<usize>>,
    /// Every tool, in order.
    pub(super) tools: Vec<ToolPlace>,
    /// What to cut so that there are no tools.
    pub(super) tools_member: Option<Range<usize>>,
    /// What to cut so that nothing else asks the provider to search.
    pub(super) search_members: Vec<Range<usize>>,
    /// Parts of messages that are images.
    pub(super) images: Vec<Range<usize>>,
    /// Where a text can be added to the last message, if anywhere.
    pub(super) tail: Option<Tail>,
    /// `output_config`, where it is an object without a budget.
    pub(super) output_config: Option<OptionsPlace>,
    /// Whether the request names a budget of its own.
    pub(super) budgeted: bool,
}

/// Where an output cap stands.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) span: Range<usize>,
    /// Whether the value is `null`, which is as good as absent.
    pub(super) null: bool,
}

/// Where an object of options stands.
#[derive(Debug, Clone)]
pub(super) enum OptionsPlace {
    /// The value is `null`.
    Null(Range<usize>),
    /// An object that has the option, whose value this is.
    Has(Range<usize>),
    /// An object without it.
    Lacks { open: usize, empty: bool },
}

/// One tool.
#[derive(Debug, Clone)]
pub(super) struct ToolPlace {
    pub(super) span: Range<usize>,
    /// Whether it is a search that the provider runs.
    pub(super) searches: bool,
}

/// The end of a message's content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tail {
    /// Before the closing quote of a text.
    Text(usize),
    /// Before the closing bracket of a list of parts.
    Parts(usize),
}

// === impl Tail ===

impl Tail {
    /// Finds the end of content that stands at `span`; an empty list of parts has none.
    pub(super) fn of(kind: Kind, span: Range<usize>) -> Option<Tail> {
        match kind {
            Kind::String => Some(Tail::Text(span.end - 1)),
            Kind::Array if span.len() > "[{}]".len() => Some(Tail::Parts(span.end - 1)),
            _ => None,
        }
    }
}
