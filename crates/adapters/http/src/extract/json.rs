//! JSON bodies.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::{FromRequest, HttpRequest};
use muster_kernel::ProblemCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::body::{Unread, is_kind};
use crate::Problem;
use crate::problem::pointer_token;

/// The largest body of a route that does not say otherwise, in bytes.
const MAX_BODY: usize = 256 * 1024;

/// A JSON body that was not read yet: a handler reads it when it is known that whoever sends it
/// may, so that nobody else learns what it should look like, or has it kept in memory.
pub(crate) struct Json<T> {
    right_kind: bool,
    is_empty: bool,
    unread: Unread,
    max_bytes: usize,
    nuls: Nuls,
    value: PhantomData<T>,
}

/// What becomes of NULs in texts, which no database keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nuls {
    Refused,
    LeftOut,
}

/// A body and the SHA-256 of its bytes.
#[derive(Debug)]
pub(crate) struct Body<T> {
    pub(crate) value: T,
    pub(crate) fingerprint: [u8; 32],
}

impl<T> FromRequest for Json<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let right_kind = is_kind(request, &["application/json"]);
        let unread = Unread::of(request, payload);
        let headers = request.headers();
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let is_empty =
            length.is_none_or(|length| length == "0") && !headers.contains_key(TRANSFER_ENCODING);
        let (max_bytes, nuls) = (MAX_BODY, Nuls::Refused);
        ready(Ok(Self { right_kind, is_empty, unread, max_bytes, nuls, value: PhantomData }))
    }
}

impl<T: DeserializeOwned> Json<T> {
    /// The same, which may have so many bytes.
    pub(crate) fn up_to(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// The same, with NULs left out of its texts: whoever tells of the output of a command says it
    /// once.
    pub(crate) fn without_nuls(self) -> Self {
        Self { nuls: Nuls::LeftOut, ..self }
    }

    /// Reads it.
    pub(crate) async fn value(self) -> Result<T, Problem> {
        Ok(self.body().await?.value)
    }

    /// Reads it like [`Json::body`]; where there is none at all, it is the default.
    pub(crate) async fn body_or_default(self) -> Result<Body<T>, Problem>
    where
        T: Default,
    {
        if self.is_empty {
            return Ok(Body { value: T::default(), fingerprint: Sha256::digest(b"").into() });
        }
        self.body().await
    }

    /// Reads it, and by what to recognise it.
    pub(crate) async fn body(self) -> Result<Body<T>, Problem> {
        if !self.right_kind {
            let detail = "send the body as JSON, with Content-Type: application/json";
            return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail));
        }
        let bytes = self.unread.bytes(self.max_bytes).await?;
        let value = match self.nuls {
            Nuls::LeftOut if nul(&bytes)?.is_some() => read(&without_nuls(&bytes)?)?,
            Nuls::LeftOut | Nuls::Refused => read(&bytes)?,
        };
        Ok(Body { value, fingerprint: Sha256::digest(&bytes).into() })
    }
}

/// Takes `null` for what may be left out.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Tells `null` from what was left out: a field that is there is `Some`, whatever it says.
pub(crate) fn some<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A number that is one: YAML has some that are none, and no database keeps those.
pub(crate) fn finite<'de, D>(deserializer: D) -> Result<Option<f64>, D::Error>
where
    D: Deserializer<'de>,
{
    match Option::<f64>::deserialize(deserializer)? {
        Some(number) if !number.is_finite() => {
            Err(serde::de::Error::custom("a number is expected"))
        }
        number => Ok(number),
    }
}

fn without_nuls(body: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut value = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    leave_out(&mut value);
    serde_json::to_vec(&value).map_err(|error| malformed(&error))
}

fn leave_out(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(values) => values.iter_mut().for_each(leave_out),
        Value::Object(fields) => fields.values_mut().for_each(leave_out),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if let Some(at) = nul(body)? {
        return Err(Problem::invalid(at, "there is a NUL in it, which no text here may have"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let inner = error.inner();
        if inner.is_data() {
            Problem::invalid(pointer(error.path()), reason(inner))
        } else {
            malformed(inner)
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Where a text with a NUL is, if there is one.
fn nul(body: &[u8]) -> Result<Option<String>, Problem> {
    if !body.windows(6).any(|bytes| bytes == b"\\u0000") {
        return Ok(None);
    }
    let value = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    Ok(nul_in(&value))
}

/// Where a text with a NUL is within a value: PostgreSQL keeps none.
pub(crate) fn nul_in(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .find_map(|(index, value)| Some(format!("/{index}{}", nul_in(value)?))),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if name.contains('\0') {
                return Some(String::new());
            }
            Some(format!("/{}{}", pointer_token(name), nul_in(value)?))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(ProblemCode::Malformed, format!("the body is not JSON: {error}"))
}

/// What serde says, without the position: the pointer says where.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// Where something is, as a JSON pointer.
pub(crate) fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", pointer_token(key))),
            Segment::Enum { variant } => Some(format!("/{variant}")),
            Segment::Unknown => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;
    use actix_web::http::header::CONTENT_TYPE;
    use futures_util::StreamExt;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only reading it matters")]
    struct Body {
        name: String,
        #[serde(default)]
        sizes: Vec<u8>,
    }

    fn answer(body: &str) -> (u16, String) {
        let problem = read::<Body>(body.as_bytes()).unwrap_err();
        (problem.status_code().as_u16(), problem.document(Some("r1")))
    }

    #[actix_web::test]
    async fn a_body_that_never_arrives_is_not_waited_for_for_ever() {
        use actix_web::dev::Payload;
        use actix_web::test::TestRequest;
        tokio::time::pause();
        let mut never = Payload::Stream { payload: futures_util::stream::pending().boxed_local() };
        let request = TestRequest::post().insert_header((CONTENT_TYPE, "application/json"));
        let body = Json::<Body>::from_request(&request.to_http_request(), &mut never);
        let problem = body.await.unwrap().value().await.unwrap_err();
        assert_eq!(problem.status_code().as_u16(), 408);
    }

    #[test]
    fn a_body_that_is_not_json_is_malformed() {
        for body in ["", "{", "{\"name\": \"a\"} x", "nonsense", "{\"name\":\"\u{1}\"}"] {
            let (status, document) = answer(body);
            assert_eq!(status, 400, "{body:?}");
            assert!(document.contains("MALFORMED_REQUEST") && document.contains("r1"));
        }
    }

    #[test]
    fn a_field_that_breaks_a_rule_is_pointed_at() {
        let cases = [
            (r#"{"name": 7}"#, "/name"),
            (r#"{"name": "a", "sizes": [1, 300]}"#, "/sizes/1"),
            (r#"{"name": "a", "colour": "red"}"#, "colour"),
            ("{}", "missing field `name`"),
            ("[]", "missing"),
            (r#"{"name": "a\u0000"}"#, "/name"),
        ];
        for (body, hint) in cases {
            let (status, document) = answer(body);
            assert!(status == 422 && document.contains("VALIDATION_FAILED"), "{body}: {document}");
            assert!(document.contains(hint) || body == "[]", "{body}: {document}");
            assert!(!document.contains("line 1"), "{document}");
        }
    }
}
