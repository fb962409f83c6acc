//! What the document says of every operation, and what follows from it.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use actix_web::HttpRequest;
use muster_kernel::ProblemCode;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};

use crate::Problem;

/// Names of parameters that older products' clients use, beside those in the document.
const OTHER_NAMES: [&str; 2] = ["customer_uuid", "ticket"];

pub(super) fn operations(item: &PathItem) -> [(&'static str, Option<&Operation>); 4] {
    [
        ("GET", item.get.as_ref()),
        ("POST", item.post.as_ref()),
        ("PUT", item.put.as_ref()),
        ("DELETE", item.delete.as_ref()),
    ]
}

/// Says of every operation that its errors are problem documents.
pub(super) fn describe_problems(document: &mut OpenApi) {
    let problem = || {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        ResponseBuilder::new().content("application/problem+json", body)
    };
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let nothing = SecurityRequirement::default();
            let is_open = operation.security.iter().flatten().any(|need| *need == nothing);
            let responses = &mut operation.responses.responses;
            if !is_open {
                let known = [
                    ("401", "not recognised: no credential, or one that is not good"),
                    (
                        "403",
                        "recognised and not allowed; `CONFIRMATION_REQUIRED` and \
                        `SECOND_FACTOR_MISSING` say what is missing",
                    ),
                ];
                for (status, description) in known {
                    let response = || problem().description(description).build();
                    responses.entry(status.to_owned()).or_insert_with(|| response().into());
                }
            }
            let limited = problem().description("too many requests; see `Retry-After`").build();
            responses.entry("429".to_owned()).or_insert_with(|| limited.into());
            let other = problem().description("any other problem; see its `code`").build();
            responses.entry("default".to_owned()).or_insert_with(|| other.into());
            for (status, response) in responses {
                if let RefOr::T(response) = response
                    && status.starts_with(['4', '5'])
                    && response.content.is_empty()
                {
                    response.content = problem().build().content;
                }
            }
        }
    }
}

/// Which query parameters each route takes, by its method and path.
static PARAMETERS: LazyLock<HashMap<(String, String), BTreeSet<String>>> = LazyLock::new(|| {
    let document = super::openapi();
    let mut known = HashMap::new();
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations(item) {
            let Some(operation) = operation else { continue };
            let parameters = operation.parameters.iter().flatten();
            let names = parameters.filter_map(|parameter| match parameter {
                RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
                    Some(parameter.name.clone())
                }
                _ => None,
            });
            let names = names.collect();
            known.insert((method.to_owned(), path.clone()), names);
        }
    }
    known
});

/// That a request has no query parameter that its route does not know: a filter that is spelt
/// wrong would show everything.
pub(crate) fn check_parameters(request: &HttpRequest) -> Result<(), Problem> {
    if request.query_string().is_empty() {
        return Ok(());
    }
    if form_urlencoded::parse(request.query_string().as_bytes())
        .any(|(_, value)| value.contains('\0'))
    {
        let detail = "a query parameter has a NUL in it, which no text here may have";
        return Err(Problem::new(ProblemCode::Malformed, detail));
    }
    let Some(pattern) = request.match_pattern() else { return Ok(()) };
    let path = pattern.strip_prefix("/api/v1").or_else(|| pattern.strip_prefix("/api"));
    let path = path.unwrap_or(&pattern).trim_end_matches('/').to_owned();
    let Some(known) = PARAMETERS.get(&(request.method().to_string(), path)) else { return Ok(()) };
    let mut given = form_urlencoded::parse(request.query_string().as_bytes());
    let Some((name, _)) = given
        .find(|(name, _)| !known.contains(name.as_ref()) && !OTHER_NAMES.contains(&name.as_ref()))
    else {
        return Ok(());
    };
    let takes = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let takes = if takes.is_empty() { "none".to_owned() } else { takes };
    let detail = format!("there is no query parameter {name} here; this takes {takes}");
    Err(Problem::new(ProblemCode::Malformed, detail))
}
