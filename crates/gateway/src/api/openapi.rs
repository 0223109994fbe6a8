//! The API's document, `OpenAPI` 3.1, made of the types that are read and written.

use std::sync::LazyLock;

use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Ref, Required, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::budgets::{Allocated, LoanMade, LoanRequest, TopUpRequest};
use super::forecast::Foretold;
use super::holds::{ExtendRequest, HoldRequest, HoldView, VoidRequest};
use super::problem::ProblemBody;
use super::questions::{ApproveRequest, Decided, QuestionList};
use super::report::{Check, Report};
use super::terms::{AllocateRequest, ChangeRequest};
use super::view::{Budget, BudgetList};
use super::wire::AmountText;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = Document::openapi()
        .to_pretty_json()
        .expect("the document has string keys alone");
    text.push('\n');
    text
});

/// Returns the document.
pub(super) fn document() -> &'static str {
    &DOCUMENT
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "fisc",
        description = "Budgets for teams of agents: allocate, check, hold, settle, release. \
            Every path begins with the name of the root that your credential stands for; what \
            lies above is neither named nor shown. Amounts come in as text (\"0.25\" dollars, \
            \"500k\" tokens, \"10m\") and go out as integers.",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(
        AllocateRequest, Allocated, AmountText, ApproveRequest, Budget, BudgetList, ChangeRequest,
        Check, Decided, ExtendRequest, Foretold, HoldRequest, HoldView, LoanMade, LoanRequest,
        ProblemBody, QuestionList, Report, TopUpRequest, VoidRequest
    )),
    modifiers(&Credentials, &Operations)
)]
struct Document;

/// Who may ask: the secrets of callers, as a bearer or as an API key.
struct Credentials;

/// What can be asked.
struct Operations;

/// One thing that can be asked. Bodies are named by their schemas.
struct Asked {
    id: &'static str,
    method: HttpMethod,
    path: &'static str,
    summary: &'static str,
    body: Option<&'static str>,
    answer: (&'static str, &'static str),
}

const PATH: &str = "The path of a budget: names joined by /, beginning with your own root's";
const METHOD: &str = "fisc (the default), linear, predict_linear, ewma or exponential";
const ID: &str = "The id of a hold, or of a question";
const PROBLEM: &str = "A problem (RFC 9457); nothing was changed";

/// The table of operations.
const OPERATIONS: [Asked; 16] = [
    get("list", "/v1/budgets", "BudgetList", "Every budget in sight"),
    get(
        "questions",
        "/v1/questions",
        "QuestionList",
        "What waits for the owner of a budget that has run out",
    ),
    Asked {
        answer: ("200", "Decided"),
        ..post(
            "approve",
            "/v1/questions/{id}/approve",
            "ApproveRequest",
            "Raises the limits of a budget that has run out, and lets its calls go on",
        )
    },
    Asked {
        body: None,
        answer: ("200", "Decided"),
        ..post(
            "deny",
            "/v1/questions/{id}/deny",
            "",
            "Refuses the calls that wait",
        )
    },
    get(
        "check",
        "/v1/budgets/{path}",
        "Check",
        "How one budget stands",
    ),
    get(
        "report",
        "/v1/budgets/{path}/report",
        "Report",
        "Who spent what, and where it leads",
    ),
    get(
        "forecast",
        "/v1/budgets/{path}/forecast",
        "Foretold",
        "Where spending leads, by a method (?method=linear)",
    ),
    Asked {
        id: "change",
        method: HttpMethod::Patch,
        path: "/v1/budgets/{path}",
        summary: "Changes limits, freezes or thaws",
        body: Some("ChangeRequest"),
        answer: ("200", "Budget"),
    },
    Asked {
        answer: ("201", "Allocated"),
        ..post(
            "allocate",
            "/v1/budgets",
            "AllocateRequest",
            "Allocates a budget and issues a token for its subtree",
        )
    },
    Asked {
        body: None,
        ..post(
            "release",
            "/v1/budgets/{path}/release",
            "",
            "Ends a budget; what it did not use is its parent's",
        )
    },
    post(
        "topup",
        "/v1/budgets/{path}/topup",
        "TopUpRequest",
        "Raises limits",
    ),
    Asked {
        answer: ("200", "LoanMade"),
        ..post(
            "lend",
            "/v1/budgets/{path}/loans",
            "LoanRequest",
            "Lends unheld surplus to a sibling",
        )
    },
    Asked {
        answer: ("201", "Hold"),
        ..post(
            "hold",
            "/v1/budgets/{path}/holds",
            "HoldRequest",
            "Sets aside what a call may cost",
        )
    },
    Asked {
        answer: ("200", "Hold"),
        ..post(
            "settle",
            "/v1/budgets/{path}/holds/{id}/settle",
            "AmountText",
            "Ends a hold with what its call did cost",
        )
    },
    Asked {
        answer: ("200", "Hold"),
        ..post(
            "extend",
            "/v1/budgets/{path}/holds/{id}/extend",
            "ExtendRequest",
            "Adds to an open hold",
        )
    },
    Asked {
        answer: ("200", "Hold"),
        ..post(
            "void",
            "/v1/budgets/{path}/holds/{id}/void",
            "VoidRequest",
            "Ends a hold whose call was never made",
        )
    },
];

const fn get(
    id: &'static str,
    path: &'static str,
    answer: &'static str,
    summary: &'static str,
) -> Asked {
    Asked {
        id,
        method: HttpMethod::Get,
        path,
        summary,
        body: None,
        answer: ("200", answer),
    }
}

const fn post(
    id: &'static str,
    path: &'static str,
    body: &'static str,
    summary: &'static str,
) -> Asked {
    Asked {
        id,
        method: HttpMethod::Post,
        path,
        summary,
        body: Some(body),
        answer: ("200", "Budget"),
    }
}

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let key = ApiKey::Header(ApiKeyValue::new("x-api-key"));
        if let Some(components) = &mut openapi.components {
            components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
            components.add_security_scheme("key", SecurityScheme::ApiKey(key));
        }
        let schemes = ["bearer", "key"];
        let none: [&str; 0] = [];
        openapi.security = Some(
            schemes
                .map(|name| SecurityRequirement::new(name, none))
                .into(),
        );
    }
}

impl Modify for Operations {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for asked in OPERATIONS {
            openapi.paths.add_path_operation(
                asked.path,
                vec![asked.method.clone()],
                asked.operation(),
            );
        }
    }
}

// === impl Asked ===

impl Asked {
    fn operation(&self) -> Operation {
        let (status, answer) = self.answer;
        let content = |schema: &str| Content::new(Some(Ref::from_schema_name(schema)));
        let answered = ResponseBuilder::new()
            .description("Done")
            .content("application/json", content(answer));
        let refused = ResponseBuilder::new()
            .description(PROBLEM)
            .content("application/problem+json", content("Problem"));
        let mut operation = OperationBuilder::new()
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .response(status, answered)
            .response("default", refused);
        for (name, meaning) in [("path", PATH), ("id", ID)] {
            if self.path.contains(&format!("{{{name}}}")) {
                operation = operation.parameter(
                    ParameterBuilder::new()
                        .name(name)
                        .parameter_in(ParameterIn::Path)
                        .required(Required::True)
                        .description(Some(meaning))
                        .schema(Some(Object::with_type(Type::String))),
                );
            }
        }
        if self.id == "forecast" {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name("method")
                    .parameter_in(ParameterIn::Query)
                    .description(Some(METHOD))
                    .schema(Some(Object::with_type(Type::String))),
            );
        }
        if let Some(body) = self.body {
            let body = RequestBodyBuilder::new()
                .content("application/json", content(body))
                .required(Some(Required::True));
            operation = operation.request_body(Some(body.build()));
        }
        operation.build()
    }
}
