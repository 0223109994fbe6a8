//! Edits of a body by the place: what is not edited stays as it is, byte for byte.

use std::ops::Range;

use super::places::{OptionsPlace, Tail};
use super::{RequestFacts, quoted};
use crate::splice::Splices;
use crate::wire::Wire;

/// The member that carries an output cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CapField {
    /// `max_tokens`: Anthropic, and most servers that speak OpenAI's wire.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`: OpenAI's newer models, which refuse the other.
    MaxCompletionTokens,
}

/// What to change in a body before it is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an edit that is made or not"
)]
pub struct Edits<'e> {
    /// The output cap to set.
    pub output_cap: Option<u64>,
    /// Which member to add when the body has no cap; one that is there is replaced instead.
    /// Anthropic's wire knows but `max_tokens`.
    pub cap_field: CapField,
    /// Whether to ask for usage in the stream. No effect but on OpenAI's streamed requests.
    pub include_usage: bool,
    /// The model to ask for instead.
    pub model: Option<&'e str>,
    /// Whether to ask for one answer where several are asked for.
    pub one_choice: bool,
    /// Whether to take out what asks the provider to search.
    pub no_searches: bool,
    /// Whether to put a line of text in the place of each image.
    pub no_images: bool,
    /// Whether to ask the model to think little where it is to think more.
    pub low_effort: bool,
    /// A text to add to the last message, for this request alone.
    pub notice: Option<&'e str>,
    /// The budget to name in Anthropic's own way. No effect elsewhere, nor where there is one.
    pub task_budget: Option<TaskBudget>,
}

/// Anthropic's own form of telling a model its budget, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskBudget {
    /// All of it.
    pub total: u64,
    /// What is left.
    pub remaining: u64,
}

/// What stands in the place of an image that was taken out.
const NO_IMAGE: &str = r#"{"type":"text","text":"[image left out to stay within the budget]"}"#;

// === impl RequestFacts ===

impl RequestFacts<'_> {
    /// Returns the body with the edits made; every other byte is as it was.
    ///
    /// # Panics
    /// When `body` has not the length of the body that was read.
    pub fn edit(&self, body: &[u8], edits: &Edits<'_>) -> Vec<u8> {
        assert_eq!(
            body.len() as u64,
            self.input.body_bytes,
            "not the body that was read"
        );
        let mut splices = Splices::default();
        if let Some(model) = edits.model {
            splices.replace(self.places.model.clone(), quoted(model));
        }
        if let Some(cap) = edits.output_cap {
            self.edit_cap(&mut splices, cap, edits.cap_field);
        }
        if edits.include_usage && self.stream && self.wire == Wire::OpenAiChat {
            self.edit_include_usage(&mut splices);
        }
        if let Some(budget) = edits.task_budget.filter(|_| self.takes_task_budget()) {
            self.edit_task_budget(&mut splices, budget);
        }
        if let Some(choices) = self.places.choices.clone().filter(|_| edits.one_choice) {
            splices.replace(choices, "1");
        }
        if let Some(effort) = self.places.effort.clone().filter(|_| edits.low_effort) {
            splices.replace(effort, "\"low\"");
        }
        if edits.no_searches {
            self.cut_searches(body, &mut splices);
        }
        if edits.no_images {
            for image in &self.places.images {
                splices.replace(image.clone(), NO_IMAGE);
            }
        }
        if let Some(notice) = edits.notice {
            self.add_notice(&mut splices, notice);
        }
        splices.apply(body)
    }

    /// Says whether several answers are asked for.
    pub fn has_choices(&self) -> bool {
        self.places.choices.is_some()
    }

    /// Says whether the model is asked to think more than a little.
    pub fn has_effort(&self) -> bool {
        self.places.effort.is_some()
    }

    /// Says whether something that can be taken out asks the provider to search.
    pub fn has_searches(&self) -> bool {
        self.places.tools.iter().any(|tool| tool.searches) || !self.places.search_members.is_empty()
    }

    /// Says whether images can be taken out.
    pub fn has_images(&self) -> bool {
        !self.places.images.is_empty()
    }

    /// Says whether a text can be added to the last message.
    pub fn takes_notice(&self) -> bool {
        self.places.tail.is_some()
    }

    /// Says whether a budget can be named in Anthropic's own way.
    pub fn takes_task_budget(&self) -> bool {
        self.wire == Wire::AnthropicMessages && !self.places.budgeted
    }

    fn edit_task_budget(&self, splices: &mut Splices, budget: TaskBudget) {
        let TaskBudget { total, remaining } = budget;
        let member = format!(
            "\"task_budget\":{{\"type\":\"tokens\",\"total\":{total},\"remaining\":{remaining}}}"
        );
        if let Some(OptionsPlace::Lacks { open, empty }) = &self.places.output_config {
            let comma = if *empty { "" } else { "," };
            splices.insert(*open, format!("{member}{comma}"));
        } else {
            let config = format!("\"output_config\":{{{member}}},");
            splices.insert(self.places.open, config);
        }
    }

    /// Takes the searches out of the tools, and the tools out of the body if they were all.
    fn cut_searches(&self, body: &[u8], splices: &mut Splices) {
        let mut cuts: Vec<Range<usize>> = self.places.search_members.clone();
        let tools = &self.places.tools;
        let kept: Vec<&[u8]> = (tools.iter())
            .filter(|tool| !tool.searches)
            .map(|tool| &body[tool.span.clone()])
            .collect();
        if let (Some(first), Some(last)) = (tools.first(), tools.last())
            && kept.len() < tools.len()
        {
            match &self.places.tools_member {
                Some(member) if kept.is_empty() => cuts.push(member.clone()),
                _ => splices.replace(first.span.start..last.span.end, kept.join(&b',')),
            }
        }
        cuts.sort_by_key(|cut| cut.start);
        let mut cut_to = 0;
        for cut in cuts {
            // Two members side by side share the comma between them.
            splices.replace(cut.start.max(cut_to)..cut.end, "");
            cut_to = cut.end;
        }
    }

    fn add_notice(&self, splices: &mut Splices, notice: &str) {
        let text = quoted(notice);
        match self.places.tail {
            Some(Tail::Text(at)) => {
                let inner = &text[1..text.len() - 1];
                splices.insert(at, format!("\\n\\n{inner}"));
            }
            Some(Tail::Parts(at)) => {
                splices.insert(at, format!(",{{\"type\":\"text\",\"text\":{text}}}"));
            }
            None => {}
        }
    }

    fn edit_cap(&self, splices: &mut Splices, cap: u64, field: CapField) {
        let slots = [&self.places.max_tokens, &self.places.max_completion_tokens];
        let mut replaced = false;
        for slot in slots.into_iter().flatten().filter(|slot| !slot.null) {
            splices.replace(slot.span.clone(), cap.to_string());
            replaced = true;
        }
        if replaced {
            return;
        }
        let (name, slot) = match (self.wire, field) {
            (Wire::OpenAiChat, CapField::MaxCompletionTokens) => {
                ("max_completion_tokens", slots[1])
            }
            _ => ("max_tokens", slots[0]),
        };
        match slot {
            Some(null) => splices.replace(null.span.clone(), cap.to_string()),
            None => splices.insert(self.places.open, format!("\"{name}\":{cap},")),
        }
    }

    fn edit_include_usage(&self, splices: &mut Splices) {
        const OPTIONS: &str = r#"{"include_usage":true}"#;
        match &self.places.stream_options {
            None => splices.insert(self.places.open, format!("\"stream_options\":{OPTIONS},")),
            Some(OptionsPlace::Null(span)) => splices.replace(span.clone(), OPTIONS),
            Some(OptionsPlace::Has(span)) => splices.replace(span.clone(), "true"),
            Some(OptionsPlace::Lacks { open, empty }) => {
                let comma = if *empty { "" } else { "," };
                splices.insert(*open, format!("\"include_usage\":true{comma}"));
            }
        }
    }
}
