//! Model names as clients write them, brought to forms that price lists know.
//!
//! Only removes what is known to carry no price: case, white space, a provider's prefix, a date.

/// The longest model name that is looked up, in bytes.
pub(crate) const MAX_MODEL_BYTES: usize = 256;

/// One way to look a model up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The provider named by the model's own prefix.
    pub(crate) prefix: Option<String>,
    /// The model, in lower case.
    pub(crate) model: String,
}

/// Returns the forms of a model name, most literal first.
pub(crate) fn candidates(model: &str) -> Vec<Candidate> {
    let literal = model.trim().to_lowercase();
    let mut all = vec![Candidate {
        prefix: None,
        model: literal.clone(),
    }];
    if let Some((prefix, rest)) = literal.split_once('/')
        && !prefix.is_empty()
        && !rest.is_empty()
    {
        all.push(Candidate {
            prefix: Some(prefix.to_owned()),
            model: rest.to_owned(),
        });
    }
    let undated: Vec<Candidate> = all
        .iter()
        .filter_map(|candidate| {
            let model = without_date(&candidate.model)?.to_owned();
            Some(Candidate {
                prefix: candidate.prefix.clone(),
                model,
            })
        })
        .collect();
    all.extend(undated);
    all
}

/// Removes a trailing `-2024-07-18`, `-20240718` or `@20240718`.
fn without_date(model: &str) -> Option<&str> {
    let compact = |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((stem, date)) = model.rsplit_once(['-', '@'])
        && compact(date)
        && date.starts_with("20")
    {
        return (!stem.is_empty()).then_some(stem);
    }
    let at = model.len().checked_sub("-2024-07-18".len())?;
    let (stem, date) = model.split_at_checked(at)?;
    let digits = date.strip_prefix('-')?.replace('-', "");
    let shaped = date.as_bytes().get(5) == Some(&b'-') && date.as_bytes().get(8) == Some(&b'-');
    (shaped && compact(&digits) && digits.starts_with("20") && !stem.is_empty()).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(model: &str, expected: &[(&str, &str)]) {
        let found: Vec<(String, String)> = candidates(model)
            .into_iter()
            .map(|candidate| (candidate.prefix.unwrap_or_default(), candidate.model))
            .collect();
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(prefix, model)| (prefix.as_str(), model.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn forms_of_a_name() {
        check("GPT-4o-mini", &[("", "gpt-4o-mini")]);
        check(
            "openai/gpt-4o",
            &[("", "openai/gpt-4o"), ("openai", "gpt-4o")],
        );
        check(
            "gpt-4o-2024-07-18",
            &[("", "gpt-4o-2024-07-18"), ("", "gpt-4o")],
        );
        check(
            "claude-x@20250101",
            &[("", "claude-x@20250101"), ("", "claude-x")],
        );
        check("m-12345678", &[("", "m-12345678")]);
        check("/", &[("", "/")]);
        check("é-2024-07-18", &[("", "é-2024-07-18"), ("", "é")]);
        check("2024-07-18é", &[("", "2024-07-18é")]);
    }
}
