//! The budget API over HTTP: `/v1/budgets…`.

mod allocate;
mod bank;
mod change;
mod document;
mod escape;
mod forecasts;
mod holds;
mod leases;
mod questions;
mod reports;
mod restarts;

use std::time::Duration;

use fisc_testkit::http::{Answer, Client};
use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{House, Plan};

/// Somebody with a credential.
#[derive(Clone)]
struct Someone {
    client: Client,
    credential: String,
}

// === impl Someone ===

impl Someone {
    /// Returns who may change everything.
    fn owner(house: &House) -> Someone {
        Someone::with(house, house.owner.expose())
    }

    /// Returns the program that runs under the root.
    fn program(house: &House) -> Someone {
        Someone::with(house, house.secret.expose())
    }

    fn with(house: &House, credential: &str) -> Someone {
        Someone {
            client: house.client.clone(),
            credential: credential.to_owned(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, &[], Some(body)).await
    }

    /// Posts a request that is to be carried out once.
    async fn post_once(&self, id: &str, path: &str, body: Value) -> Answer {
        let headers = [("idempotency-key", id)];
        self.send(Method::POST, path, &headers, Some(body)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.credential);
        let headers = [&[("authorization", bearer.as_str())], headers].concat();
        let path = if path.starts_with("/v1/") {
            path.to_owned()
        } else {
            format!("/v1/budgets{path}")
        };
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let answer = self.client.send(method, &path, &headers, body.into()).await;
        let answer = answer.expect("the gateway answers").whole().await;
        answer.expect("a whole answer")
    }

    /// Allocates a budget and returns who stands for it.
    #[track_caller]
    fn spawn(&self, body: Value) -> impl Future<Output = Someone> {
        let (allocated, client) = (self.clone(), self.client.clone());
        async move {
            let mut answer = allocated.post("", body.clone()).await;
            while answer.status == 429 {
                // So many are not made at once.
                tokio::time::sleep(Duration::from_secs(1)).await;
                answer = allocated.post("", body.clone()).await;
            }
            assert_eq!(answer.status, 201, "{}", answer.text());
            let token = answer.json()["token"].as_str().expect("a token").to_owned();
            Someone {
                client,
                credential: token,
            }
        }
    }

    /// Returns how a budget stands.
    async fn stands(&self, path: &str) -> Value {
        self.get(&format!("/{path}")).await.ok().json()
    }
}

/// Starts a house whose root may cost so many dollars.
async fn house(cost: &str) -> House {
    let house = House::start(Plan::default()).await;
    let limit = json!({ "cost": cost });
    Someone::owner(&house).patch("/run", limit).await.ok();
    house
}

/// Checks that an answer is a problem of that type, and returns it.
#[track_caller]
fn check_problem(answer: &Answer, status: u16, name: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["type"], format!("urn:fisc:problem:{name}"));
    assert_eq!(problem["status"], status);
    for member in ["title", "detail"] {
        assert!(problem[member].is_string(), "{problem}");
    }
    problem
}

/// Makes the id of a hold: a UUID of version 7.
fn hold_id(number: u64) -> String {
    format!("019ab54d-7a38-7bb2-a1b2-{number:012x}")
}

/// Returns nano-dollars of one figure of a budget.
#[track_caller]
fn nanos(budget: &Value, figure: &str) -> i64 {
    let nanos = budget[figure]["cost_nanousd"].as_i64();
    nanos.unwrap_or_else(|| panic!("{figure} of {budget}"))
}
