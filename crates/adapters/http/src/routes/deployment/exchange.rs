//! Profiles out of a server and into one, as files.

use actix_web::{HttpResponse, Responder, web};
use muster_deployment_profiles::Imported;
use muster_kernel::{CustomerId, ProfileId, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::yaml::{ProfileFile, read_profile, write_profile};
use crate::extract::{Id, May, Query, Yaml};
use crate::{AppState, Problem};

/// A profile as a file, with the scripts and software that it names, by name. Values of secret
/// parameters are not in it.
#[utoipa::path(
    get, path = "/profiles/{id}/export", tag = "deployment", operation_id = "export_profile",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, content((ProfileFile = "application/yaml"))), (status = 404),
        (status = 409, description = "`WRONG_STATE`: it names something that is gone"),
    ),
)]
pub(crate) async fn export(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    id: Id<ProfileId>,
) -> Result<impl Responder, Problem> {
    let scripts = permit.also::<act::ReadScripts>()?;
    let bundle = state.deployment.exchange.export(&permit, &scripts, id.get()?).await?;
    Ok(HttpResponse::Ok().content_type("application/yaml").body(write_profile(bundle)?))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// Whose it becomes. Unless given it is shared with all, when you work for all customers, and
    /// your customer's when you work for one.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
}

/// What came of something in a file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportedAnswer {
    /// `profile`, `script` or `software`.
    kind: &'static str,
    name: String,
    id: Uuid,
    /// `created`, `updated` or `unchanged`.
    result: &'static str,
}

impl From<Imported> for ImportedAnswer {
    fn from(imported: Imported) -> Self {
        let Imported { kind, name, id, result } = imported;
        Self { kind, name, id, result: result.as_str() }
    }
}

/// What came of a file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportAnswer {
    profile_id: Uuid,
    results: Vec<ImportedAnswer>,
}

/// Make what a file says: what its owner has under the same names says the same then, and the same
/// file again changes nothing. A file that breaks a rule changes nothing at all.
#[utoipa::path(
    post, path = "/profiles/import", tag = "deployment", operation_id = "import_profile",
    params(ImportQuery), request_body(content((ProfileFile = "application/yaml"))),
    responses(
        (status = 200, body = ImportAnswer),
        (status = 400, description = "no YAML, and where"),
        (status = 404, description = "no such customer"),
        (status = 413, description = "more than 8 MiB"),
        (status = 415), (status = 422, description = "something breaks a rule, and where"),
    ),
)]
pub(crate) async fn import(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    query: Query<ImportQuery>,
    body: Yaml,
) -> Result<impl Responder, Problem> {
    let scripts = permit.also::<act::ManageScripts>()?;
    let bundle = read_profile(&body.bytes().await?)?;
    let customer = query.0.customer_id.map(CustomerId::from_uuid);
    let exchange = &state.deployment.exchange;
    let (profile, results) = exchange.import(&permit, &scripts, customer, bundle).await?;
    let results = results.into_iter().map(ImportedAnswer::from).collect();
    Ok(web::Json(ImportAnswer { profile_id: profile.id.as_uuid(), results }))
}
