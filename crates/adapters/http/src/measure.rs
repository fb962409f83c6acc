//! How many requests there are, and how long their answers take.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use metrics::{Histogram, histogram};

/// The route of requests that are for none of the API.
const NO_ROUTE: &str = "other";

/// The histograms of one route: few, and found without a hash.
type OfRoute = Vec<((&'static str, u16), Histogram)>;

thread_local! {
    static KNOWN: RefCell<HashMap<String, OfRoute>> = RefCell::default();
}

/// Middleware that measures how long each answer takes, until its head is ready; it belongs outside of
/// everything else. Requests are told apart by method, by the template of their route and by
/// status: nothing of what a client may choose freely becomes a name.
///
/// # Errors
/// Those of the handlers.
pub async fn measure<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let begun = Instant::now();
    let method = known_method(request.method());
    let response = next.call(request).await?;
    let status = response.status().as_u16();
    let route = response.request().match_name().unwrap_or(NO_ROUTE);
    let (which, took) = ((route, method, status), begun.elapsed());
    KNOWN.with_borrow_mut(|known| record(known, which, took));
    Ok(response)
}

/// Records into the histogram, which is looked up in the registry once a thread.
fn record(
    known: &mut HashMap<String, OfRoute>,
    (route, method, status): (&str, &'static str, u16),
    took: Duration,
) {
    let key = (method, status);
    let of_route = known.get(route);
    let found = of_route.and_then(|all| all.iter().find(|(known, _)| *known == key));
    if let Some((_, histogram)) = found {
        return histogram.record(took);
    }
    let histogram = histogram!(
        "muster_http_request_duration_seconds",
        "method" => method,
        "route" => route.to_owned(),
        "status" => status.to_string(),
    );
    histogram.record(took);
    known.entry(route.to_owned()).or_default().push((key, histogram));
}

/// The method's name; clients may make up others.
pub(crate) fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
