//! A scripted provider, a budget and a gateway in this process, on loopback.
//!
//! One function starts all three: [`House::start`]. What a test then compares with is the
//! provider's own record of what it generated ([`House::truth`]), priced here.

use std::path::PathBuf;
use std::time::Duration;

use fisc::core::{Amount, Money, Resource, TimeUs, TokenClass, Usage};
use fisc::{Budget, BudgetStatus, Durability, Fisc, Limits, Options, Patience, Terms};
use fisc_gateway::{
    Counts, Credential, Gateway, Keyring, Parts, Policy, Provider, Secret, Upstream, Webhook,
};
use fisc_llm::{Price, PriceBook};
use fisc_rehearsal::{Rehearsal, Settings, State, TruthRecord, Wire};
use fisc_testkit::http::Client;
use fisc_testkit::temp;
use tokio::net::TcpListener;

/// The name of the root budget.
pub(crate) const ROOT: &str = "run";
/// The key that the gateway shows the provider; callers never see it.
pub(crate) const PROVIDER_KEY: &str = "sk-provider-canary-5b1e77";
/// How long whatever runs may take to come to rest.
const REST_MAX: Duration = Duration::from_secs(30);

/// What a test may choose.
pub(crate) struct Plan {
    /// How the provider behaves.
    pub(crate) provider: Settings,
    /// What the root is allowed.
    pub(crate) root: Terms,
    /// What the owner decided about calls.
    pub(crate) policy: Policy,
    /// Where the books are kept.
    pub(crate) books: Books,
    /// Prices besides the built-in ones, as TOML.
    pub(crate) prices: Option<String>,
    /// Who is told what happens.
    pub(crate) webhooks: Vec<Webhook>,
}

/// Where the books are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Books {
    /// In memory.
    Memory,
    /// In a file in a folder of the test's own, removed with it.
    File(Durability),
}

/// All that runs.
pub(crate) struct House {
    pub(crate) fisc: Fisc,
    pub(crate) rehearsal: Rehearsal,
    pub(crate) gateway: Gateway,
    /// A client of the gateway. Clones share connections.
    pub(crate) client: Client,
    /// What authorizes callers, the part of the path after `/r/`.
    pub(crate) secret: Secret,
    /// What lets its holder change the root, too.
    pub(crate) owner: Secret,
    /// The ledger's file, if there is one.
    pub(crate) ledger: Option<PathBuf>,
    prices: PriceBook,
    _dir: Option<temp::Dir>,
}

// === impl Plan ===

impl Default for Plan {
    /// No waits, nothing limited, books in memory.
    fn default() -> Plan {
        Plan {
            provider: Settings::instant(),
            root: Terms::default(),
            policy: Policy::default(),
            books: Books::Memory,
            prices: None,
            webhooks: Vec::new(),
        }
    }
}

// === impl House ===

impl House {
    /// Starts the provider, the books with a root budget [`ROOT`], and the gateway.
    pub(crate) async fn start(plan: Plan) -> House {
        let Plan {
            provider,
            root,
            policy,
            books,
            prices,
            webhooks,
        } = plan;
        let rehearsal = Rehearsal::start(provider).expect("loopback has free ports");
        let (options, ledger, dir) = options(books);
        let fisc = Fisc::open(options).expect("a ledger opens");
        if fisc.root().is_none() {
            fisc.allocate(ROOT, root).await.expect("a root fits");
        }
        let generate = || Secret::generate().expect("there is randomness");
        let (secret, owner) = (generate(), generate());
        let book = || match &prices {
            Some(toml) => PriceBook::with_overlay(toml).expect("the test's prices are valid"),
            None => PriceBook::builtin(),
        };
        let parts = Parts {
            webhooks,
            ..parts((&secret, &owner), &rehearsal, book(), policy).await
        };
        let gateway = Gateway::start(parts, fisc.clone()).expect("a gateway starts");
        House {
            client: Client::new(gateway.addr()),
            prices: book(),
            fisc,
            rehearsal,
            gateway,
            secret,
            owner,
            ledger,
            _dir: dir,
        }
    }

    /// Returns a caller's base path, below which an API's own paths lie; `agent` is dotted, and
    /// may be followed by `/<operation>`. Empty for the root itself.
    pub(crate) fn base(&self, agent: &str) -> String {
        let secret = self.secret.expose();
        if agent.is_empty() {
            format!("/r/{secret}")
        } else {
            format!("/r/{secret}/a/{agent}")
        }
    }

    /// Returns the path of a wire's calls for an agent.
    pub(crate) fn path(&self, wire: Wire, agent: &str) -> String {
        let base = self.base(agent);
        match wire {
            Wire::OpenAi => format!("{base}/v1/chat/completions"),
            Wire::Anthropic => format!("{base}/v1/messages"),
        }
    }

    /// Returns the root budget.
    pub(crate) fn root(&self) -> Budget {
        self.fisc.budget(ROOT).expect("it was allocated")
    }

    /// Lets others spend so much of the root.
    pub(crate) async fn spend(&self, amount: Amount) {
        let root = self.root();
        let hold = root.hold("others", amount, Patience(Duration::ZERO));
        let settled = hold.await.expect("it fits").settle_amount(amount);
        let written = settled.expect("it was held").durable().await;
        written.expect("it is written");
    }

    /// Returns how a budget stands, by its path from the root on.
    #[track_caller]
    pub(crate) fn status(&self, path: &str) -> BudgetStatus {
        self.fisc.budget(path).expect("a budget").status()
    }

    /// Returns how much passed.
    pub(crate) fn counts(&self) -> Counts {
        self.gateway.counts()
    }

    /// Returns what the provider truly generated, after waiting until no call runs any more.
    /// Requests that only count tokens generate nothing and are left out.
    pub(crate) async fn truth(&self) -> Vec<TruthRecord> {
        let over = async {
            loop {
                let mut truth = self.rehearsal.truth();
                truth.retain(|record| !record.path.ends_with("/count_tokens"));
                if truth.iter().all(|record| record.state == State::Ended) {
                    return truth;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let over = tokio::time::timeout(REST_MAX, over).await;
        over.expect("calls end")
    }

    /// Waits until no hold is open.
    pub(crate) async fn rest(&self) {
        let rested = async {
            while self.fisc.open_holds() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let rested = tokio::time::timeout(REST_MAX, rested).await;
        rested.unwrap_or_else(|_| panic!("{} holds stay open", self.fisc.open_holds()));
    }

    /// Returns what a call truly cost, in all resources; time in the whole milliseconds in which
    /// the provider measures it.
    pub(crate) fn cost_of(&self, record: &TruthRecord) -> Amount {
        let usage = usage(record);
        let provider = match record.wire {
            Wire::OpenAi => Provider::OpenAi,
            Wire::Anthropic => Provider::Anthropic,
        };
        let now = self.fisc.now();
        let price = self.prices.price(Some(provider.name()), &record.model, now);
        let ended = record.ended_ms.unwrap_or(record.started_ms);
        let time = TimeUs((ended - record.started_ms) as i64 * 1_000);
        let cost = match price {
            Price::Known(price) => price
                .charge(&usage, record.service_tier.as_deref(), time, 1)
                .expect("a call's cost is in range"),
            Price::Unpriced => Money::ZERO,
        };
        Amount::new(usage.count(self.fisc.counting()), cost, time)
    }

    /// Sums what calls truly cost.
    pub(crate) fn sum<'r>(&self, records: impl IntoIterator<Item = &'r TruthRecord>) -> Amount {
        let costs = records.into_iter().map(|record| self.cost_of(record));
        costs.fold(Amount::ZERO, Amount::saturating_add)
    }

    /// Checks that the books are whole once nothing runs: no hold is open, what budgets spent
    /// adds up through the tree, nothing is held, and a ledger in a file verifies.
    pub(crate) async fn check_books(&self) {
        self.rest().await;
        let statuses = self.fisc.statuses();
        for budget in &statuses {
            assert_eq!(budget.open, 0, "{}", budget.path);
            assert_eq!(budget.held, Amount::ZERO, "{}", budget.path);
            let children = statuses
                .iter()
                .filter(|child| child.parent == Some(budget.id));
            let below = children.fold(Amount::ZERO, |sum, child| sum.saturating_add(child.spent));
            let all = below.saturating_add(budget.own_spent);
            assert_eq!(budget.spent, all, "{}: spent adds up", budget.path);
        }
        let Some(ledger) = &self.ledger else { return };
        let flushed = self
            .fisc
            .set_terms(self.root().id(), self.root().status().terms);
        flushed.await.expect("the ledger writes");
        let verified = fisc_ledger::verify(ledger).expect("the ledger verifies");
        assert_eq!((verified.open_holds, verified.in_doubt), (0, 0));
    }

    /// Ends the gateway and the books, and starts both again over the same ledger, with the
    /// default policy.
    pub(crate) async fn restart(self) -> House {
        self.gateway.shutdown(Duration::from_secs(5)).await;
        self.fisc.close().await.expect("a ledger closes");
        let path = self.ledger.clone().expect("a ledger in a file");
        let fisc = Fisc::open(Options::at(path)).expect("the ledger opens again");
        let secrets = (&self.secret, &self.owner);
        let prices = PriceBook::builtin();
        let parts = parts(secrets, &self.rehearsal, prices, Policy::default()).await;
        let gateway = Gateway::start(parts, fisc.clone()).expect("a gateway starts");
        House {
            client: Client::new(gateway.addr()),
            fisc,
            gateway,
            ..self
        }
    }

    /// Stops all of it, the gateway first.
    pub(crate) async fn stop(self) {
        self.gateway.shutdown(Duration::from_secs(5)).await;
        self.rehearsal.shutdown().await;
        self.fisc.close().await.expect("a ledger closes");
    }
}

/// Returns a limit on one resource, in its raw units.
pub(crate) fn limited(resource: Resource, units: i64) -> Terms {
    Terms {
        limits: Limits::NONE.with(resource, Some(units)),
        ..Terms::default()
    }
}

/// Returns the usage of a record in the classes of the books.
pub(crate) fn usage(record: &TruthRecord) -> Usage {
    let truth = &record.canonical;
    let mut usage = Usage::default()
        .with(TokenClass::UncachedInput, truth.input)
        .with(TokenClass::CacheRead, truth.cache_read)
        .with(TokenClass::CacheWrite5m, truth.cache_write_5m)
        .with(TokenClass::CacheWrite1h, truth.cache_write_1h)
        .with(TokenClass::Output, truth.output_total());
    usage.reasoning = truth.reasoning;
    usage
}

async fn parts(
    (secret, owner): (&Secret, &Secret),
    rehearsal: &Rehearsal,
    prices: PriceBook,
    policy: Policy,
) -> Parts {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    Parts {
        listener: listener.expect("loopback has free ports"),
        hosts: Vec::new(),
        keyring: Keyring::new()
            .with_run(secret, ROOT)
            .with_owner(owner, ROOT),
        upstreams: upstreams(rehearsal),
        prices,
        policy,
        webhooks: Vec::new(),
        taught_by: Vec::new(),
    }
}

fn options(books: Books) -> (Options, Option<PathBuf>, Option<temp::Dir>) {
    let at = |path: PathBuf, durability| Options {
        durability,
        ..Options::at(path)
    };
    match books {
        Books::Memory => (Options::default(), None, None),
        Books::File(durability) => {
            let dir = temp::Dir::new();
            let path = dir.join("ledger.db");
            (at(path.clone(), durability), Some(path), Some(dir))
        }
    }
}

fn upstreams(rehearsal: &Rehearsal) -> Vec<Upstream> {
    let key = Credential::ApiKey(Secret::new(PROVIDER_KEY));
    let url = rehearsal.url();
    let bases = [
        (Provider::OpenAi, format!("{url}/v1")),
        (Provider::Anthropic, url),
    ];
    bases
        .map(|(provider, base)| Upstream::new(provider, &base, &key).expect("a plain URL"))
        .into()
}
