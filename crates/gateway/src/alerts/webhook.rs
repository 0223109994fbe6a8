//! A webhook as its owner wants it: where to, signed with what, and which alerts.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fisc::Level;
use hyper::Uri;

use super::address;
use super::message::Alert;
use crate::secret::Secret;

/// The fewest bytes that a key may have; fewer can be guessed.
const KEY_BYTES_MIN: usize = 24;

/// What a key in base64 begins with, as Standard Webhooks have it.
const KEY_PREFIX: &str = "whsec_";

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertKind {
    /// A level changed.
    Level,
    /// A settlement took a budget over its limit.
    Overrun,
    /// A call used the wrap-up reserve.
    Finalize,
    /// A budget ended.
    Released,
    /// A sibling lent a part of its limit.
    Lent,
    /// A budget was frozen, or goes on.
    Frozen,
    /// A window began.
    Window,
    /// A limit will not last.
    Forecast,
    /// An agent looks as if it ran away.
    Runaway,
    /// Calls for which nothing is left wait for a budget's owner.
    Asked,
    /// The owner decided, or did not.
    Answered,
    /// Calls whose end is unknown were found at the start.
    InDoubt,
    /// A model has no price.
    Unpriced,
    /// More happened than could be told.
    Missed,
}

/// A webhook.
#[derive(Clone)]
pub struct Webhook {
    pub(super) uri: Uri,
    pub(super) key: Vec<u8>,
    pub(super) allow_private: bool,
    kinds: Vec<AlertKind>,
    min_level: Level,
    budgets: Vec<String>,
}

/// Why a webhook cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// It is no absolute URL.
    #[error("not a URL; write https://host/path")]
    NotAUrl,
    /// The scheme is neither `http` nor `https`.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// It holds a user name or password.
    #[error("a URL may not hold a user or a password")]
    UserInfo,
    /// Its host is an address that is not of the public internet.
    #[error("{0} is not an address of the public internet; set allow_private to use it")]
    Private(IpAddr),
    /// The secret is no key.
    #[error("the secret is shorter than 24 bytes, or begins with whsec_ and is not base64")]
    Secret,
}

// === impl AlertKind ===

impl AlertKind {
    /// Every kind.
    pub const ALL: [AlertKind; 14] = [
        AlertKind::Level,
        AlertKind::Overrun,
        AlertKind::Finalize,
        AlertKind::Released,
        AlertKind::Lent,
        AlertKind::Frozen,
        AlertKind::Window,
        AlertKind::Forecast,
        AlertKind::Runaway,
        AlertKind::Asked,
        AlertKind::Answered,
        AlertKind::InDoubt,
        AlertKind::Unpriced,
        AlertKind::Missed,
    ];

    /// Returns the kind's name, in configuration and in what is sent.
    pub const fn name(self) -> &'static str {
        match self {
            AlertKind::Level => "level",
            AlertKind::Overrun => "overrun",
            AlertKind::Finalize => "finalize",
            AlertKind::Released => "released",
            AlertKind::Lent => "lent",
            AlertKind::Frozen => "frozen",
            AlertKind::Window => "window",
            AlertKind::Forecast => "forecast",
            AlertKind::Runaway => "runaway",
            AlertKind::Asked => "asked",
            AlertKind::Answered => "answered",
            AlertKind::InDoubt => "in-doubt",
            AlertKind::Unpriced => "unpriced",
            AlertKind::Missed => "missed",
        }
    }

    /// Reads what [`AlertKind::name`] writes.
    pub fn parse(name: &str) -> Option<AlertKind> {
        AlertKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

// === impl Webhook ===

impl Webhook {
    /// Makes a webhook that wants every alert. The secret signs: as its bytes, or where it begins
    /// with `whsec_`, as the base64 after that. Addresses that are not of the public internet are
    /// refused unless `allow_private`.
    ///
    /// # Errors
    /// When the URL or the secret cannot be used.
    pub fn new(url: &str, secret: &Secret, allow_private: bool) -> Result<Webhook, WebhookError> {
        let uri: Uri = url.parse().map_err(|_| WebhookError::NotAUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(WebhookError::NotAUrl);
        };
        if scheme != "http" && scheme != "https" {
            return Err(WebhookError::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(WebhookError::UserInfo);
        }
        // An address as host is connected to without being looked up, so it is checked here.
        if let Some(ip) = address::literal(authority.host())
            && !allow_private
            && !address::is_public(ip)
        {
            return Err(WebhookError::Private(ip));
        }
        let key = match secret.expose().strip_prefix(KEY_PREFIX) {
            Some(text) => STANDARD.decode(text).map_err(|_| WebhookError::Secret)?,
            None => secret.expose().as_bytes().to_vec(),
        };
        if key.len() < KEY_BYTES_MIN {
            return Err(WebhookError::Secret);
        }
        Ok(Webhook {
            uri,
            key,
            allow_private,
            kinds: AlertKind::ALL.to_vec(),
            min_level: Level::Green,
            budgets: Vec::new(),
        })
    }

    /// Wants only alerts of these kinds, and to be told when some were missed.
    #[must_use]
    pub fn with_kinds(mut self, kinds: impl IntoIterator<Item = AlertKind>) -> Webhook {
        self.kinds = kinds.into_iter().chain([AlertKind::Missed]).collect();
        self
    }

    /// Wants only changes of level that reach or leave one at least as high as this.
    #[must_use]
    pub fn with_min_level(mut self, level: Level) -> Webhook {
        self.min_level = level;
        self
    }

    /// Wants only alerts about these budgets: paths, in which `*` stands for one name, and at the
    /// end for whatever is below.
    #[must_use]
    pub fn with_budgets(mut self, patterns: impl IntoIterator<Item = String>) -> Webhook {
        self.budgets = patterns.into_iter().collect();
        self
    }

    /// Says whether it wants an alert.
    pub(super) fn wants(&self, alert: &Alert) -> bool {
        self.kinds.contains(&alert.kind)
            && alert.level.is_none_or(|level| level >= self.min_level)
            && alert.budget.as_ref().is_none_or(|path| self.sees(path))
    }

    /// Says whether it wants alerts about a budget.
    pub(super) fn sees(&self, path: &str) -> bool {
        let mut patterns = self.budgets.iter();
        self.budgets.is_empty() || patterns.any(|pattern| matches(pattern, path))
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths of webhooks are often secrets themselves.
        f.debug_struct("Webhook")
            .field("host", &self.uri.host())
            .field("kinds", &self.kinds)
            .field("min_level", &self.min_level)
            .field("budgets", &self.budgets)
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut names) = (pattern.split('/').peekable(), path.split('/'));
    while let Some(want) = wanted.next() {
        let Some(name) = names.next() else {
            return false;
        };
        if want == "*" && wanted.peek().is_none() {
            return true;
        }
        if want != "*" && want != name {
            return false;
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdefghijklmn";

    fn make(url: &str, secret: &str, private: bool) -> Result<Webhook, WebhookError> {
        Webhook::new(url, &Secret::new(secret), private)
    }

    #[test]
    fn patterns_name_budgets_by_their_paths() {
        for (pattern, path, fits) in [
            ("team", "team", true),
            ("team", "team/a", false),
            ("team/*", "team", false),
            ("team/*", "team/a", true),
            ("team/*", "team/a/b", true),
            ("team/*/b", "team/a/b", true),
            ("team/*/b", "team/a/c", false),
            ("team/*/b", "team/a/b/c", false),
            ("*", "team/a", true),
            ("team/*", "teams/a", false),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn what_cannot_be_a_webhook_is_refused() {
        let private = |ip: &str| WebhookError::Private(ip.parse().expect("an address"));
        for (url, why) in [
            ("hooks.example", WebhookError::NotAUrl),
            ("/hooks", WebhookError::NotAUrl),
            ("ftp://hooks.example/a", WebhookError::Scheme),
            ("https://user@hooks.example/a", WebhookError::UserInfo),
            ("http://127.0.0.1:80/a", private("127.0.0.1")),
            ("http://169.254.169.254/latest", private("169.254.169.254")),
            ("http://[::ffff:10.0.0.1]/a", private("::ffff:10.0.0.1")),
            ("https://[fd00::1]:8443/a", private("fd00::1")),
        ] {
            assert_eq!(make(url, SECRET, false).err(), Some(why), "{url}");
        }
        for url in ["https://hooks.example/a?b=c", "http://93.184.215.14/a"] {
            assert!(make(url, SECRET, false).is_ok(), "{url}");
        }
        assert!(make("http://127.0.0.1:80/a", SECRET, true).is_ok());
    }

    #[test]
    fn a_key_is_long_and_may_be_base64() {
        let url = "https://hooks.example";
        let key = |secret: &str| make(url, secret, false).map(|hook| hook.key);
        assert_eq!(key(SECRET), Ok(SECRET.as_bytes().to_vec()));
        assert_eq!(key("0123456789abcdefghijklm"), Err(WebhookError::Secret));
        let whole = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u";
        assert_eq!(key(whole), Ok(SECRET.as_bytes().to_vec()));
        assert_eq!(key("whsec_MDEyMzQ1"), Err(WebhookError::Secret));
        assert_eq!(key(&format!("{whole}!")), Err(WebhookError::Secret));
    }

    #[test]
    fn neither_the_key_nor_the_path_is_shown() {
        let hook = make("https://hooks.example/T0/canary", SECRET, false).expect("a webhook");
        let shown = format!("{hook:?}");
        assert!(shown.contains("hooks.example"), "{shown}");
        assert!(
            !shown.contains("canary") && !shown.contains("0123"),
            "{shown}"
        );
    }
}
