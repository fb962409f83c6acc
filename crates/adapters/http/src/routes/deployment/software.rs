//! Software and how it is installed.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_deployment_profiles::{
    CatalogFilter, Change, Installer, Software, SoftwareBody, Variant,
};
use muster_kernel::{CustomerId, SoftwareId, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::extract::{
    Id, IfMatch, Json, ListAnswer, May, PageQuery, Query, etag, finite, null_as_default, some,
};
use crate::routes::agent_query::OsTypeParameter;
use crate::routes::commands::Shell;
use crate::routes::library::check_owner;
use crate::{AppState, Problem};

/// The largest body, in bytes: an item may have twelve commands of 32 KiB.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// What installs software.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum InstallerParameter {
    Winget,
    Choco,
    Msi,
    Exe,
    Apt,
    Dnf,
    Brew,
    /// The item's own commands.
    Script,
}

impl From<InstallerParameter> for Installer {
    fn from(installer: InstallerParameter) -> Self {
        match installer {
            InstallerParameter::Winget => Self::Winget,
            InstallerParameter::Choco => Self::Choco,
            InstallerParameter::Msi => Self::Msi,
            InstallerParameter::Exe => Self::Exe,
            InstallerParameter::Apt => Self::Apt,
            InstallerParameter::Dnf => Self::Dnf,
            InstallerParameter::Brew => Self::Brew,
            InstallerParameter::Script => Self::Script,
        }
    }
}

impl From<Installer> for InstallerParameter {
    fn from(installer: Installer) -> Self {
        match installer {
            Installer::Winget => Self::Winget,
            Installer::Choco => Self::Choco,
            Installer::Msi => Self::Msi,
            Installer::Exe => Self::Exe,
            Installer::Apt => Self::Apt,
            Installer::Dnf => Self::Dnf,
            Installer::Brew => Self::Brew,
            Installer::Script => Self::Script,
        }
    }
}

/// How software comes to machines of one family of operating systems.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SoftwareVariant)]
pub(super) struct VariantBody {
    #[schema(inline)]
    os_type: OsTypeParameter,
    #[schema(inline)]
    installer: InstallerParameter,
    /// What the installer calls it; of `msi` the product code. `exe` and `script` have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Git.Git")]
    package: Option<String>,
    /// Only this version is right; any unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Where its file is: of `msi` and `exe`, and of `apt` a `.deb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// What its file has to be, as 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// What the installer is told beside that, each as it is.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    /// Of `exe` and `script`: a command that succeeds when it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    detect: Option<String>,
    /// Of `script`: a command that installs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    install: Option<String>,
    /// Of `exe` and `script`: a command that removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    uninstall: Option<String>,
    /// What reads these commands: `sh` unless given, on Windows `powershell`.
    #[serde(skip_serializing_if = "Option::is_none")]
    shell_type: Option<Shell>,
    /// Seconds that each step may take.
    #[serde(default, deserialize_with = "finite", skip_serializing_if = "Option::is_none")]
    timeout: Option<f64>,
}

impl From<VariantBody> for Variant {
    fn from(body: VariantBody) -> Self {
        Self {
            os_type: body.os_type.into(),
            installer: body.installer.into(),
            package: body.package,
            version: body.version,
            url: body.url,
            sha256: body.sha256,
            args: body.args,
            detect: body.detect,
            install: body.install,
            uninstall: body.uninstall,
            shell_type: body.shell_type.map(Into::into),
            timeout: body.timeout,
        }
    }
}

impl From<Variant> for VariantBody {
    fn from(variant: Variant) -> Self {
        Self {
            os_type: variant.os_type.into(),
            installer: variant.installer.into(),
            package: variant.package,
            version: variant.version,
            url: variant.url,
            sha256: variant.sha256,
            args: variant.args,
            detect: variant.detect,
            install: variant.install,
            uninstall: variant.uninstall,
            shell_type: variant.shell_type.map(Into::into),
            timeout: variant.timeout,
        }
    }
}

/// How it comes to which systems, unchecked.
pub(super) fn says(variants: Vec<VariantBody>) -> SoftwareBody {
    SoftwareBody { variants: variants.into_iter().map(Into::into).collect() }
}

/// A piece of software that is to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SoftwareRequest {
    /// 1 to 200 printable characters. No two of a customer's have the same, upper and lower case
    /// alike, and no two that are shared.
    name: String,
    description: Option<String>,
    /// Whose it is. Unless given it is shared with all, when you work for all customers, and your
    /// customer's when you work for one.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// How it comes to which systems; one for each family of them.
    variants: Vec<VariantBody>,
}

/// A change to a piece of software; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "null says something else than nothing")]
pub(crate) struct SoftwareUpdate {
    name: Option<String>,
    #[serde(default, deserialize_with = "some")]
    description: Option<Option<String>>,
    /// Whose it is, which never changes.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// All of them.
    variants: Option<Vec<VariantBody>>,
}

/// A piece of software and how it is installed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SoftwareAnswer {
    id: Uuid,
    /// Whose it is; null when it is shared with all.
    customer_id: Option<Uuid>,
    name: String,
    description: Option<String>,
    variants: Vec<VariantBody>,
    /// How often it was written; the `ETag` of its answers.
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Software> for SoftwareAnswer {
    fn from(item: Software) -> Self {
        Self {
            id: item.id.as_uuid(),
            customer_id: item.customer_id.map(CustomerId::as_uuid),
            name: item.name,
            description: item.description,
            variants: item.body.variants.into_iter().map(Into::into).collect(),
            version: item.version,
            created_at: item.created_at,
            updated_at: item.updated_at,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SoftwareQuery {
    /// Only those whose name contains this.
    q: Option<String>,
    /// Only this customer's own.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
}

/// The software, in the order of its creation.
#[utoipa::path(
    get, path = "/software", tag = "deployment", operation_id = "list_software",
    params(SoftwareQuery, PageQuery),
    responses((status = 200, body = ListAnswer<SoftwareAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    query: Query<SoftwareQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let filter = CatalogFilter {
        customer_id: query.0.customer_id.map(CustomerId::from_uuid),
        q: query.0.q,
        ..CatalogFilter::default()
    };
    let page = state.deployment.software.list(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, SoftwareAnswer::from)))
}

/// Keep a piece of software.
#[utoipa::path(
    post, path = "/software", tag = "deployment", operation_id = "create_software",
    request_body = SoftwareRequest,
    responses(
        (status = 201, body = SoftwareAnswer, headers(("ETag"))),
        (status = 404, description = "no such customer"),
        (status = 409, description = "the name is taken"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    body: Json<SoftwareRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.up_to(MAX_BODY).value().await?;
    let (software, customer) = (&state.deployment.software, body.customer_id);
    let (customer, says) = (customer.map(CustomerId::from_uuid), says(body.variants).check()?);
    let item = software.create(&permit, customer, body.name, body.description, says).await?;
    let location = format!("/api/v1/software/{}", item.id);
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, location)).insert_header(etag(item.version));
    Ok(answer.json(SoftwareAnswer::from(item)))
}

fn respond(item: Software) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(item.version)).json(SoftwareAnswer::from(item))
}

/// One piece of software.
#[utoipa::path(
    get, path = "/software/{id}", tag = "deployment", operation_id = "read_software",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = SoftwareAnswer, headers(("ETag"))), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    id: Id<SoftwareId>,
) -> Result<impl Responder, Problem> {
    Ok(respond(state.deployment.software.get(&permit, id.get()?).await?))
}

/// Change a piece of software, which makes a version. Rollouts that have begun keep to the old one.
#[utoipa::path(
    put, path = "/software/{id}", tag = "deployment", operation_id = "update_software",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = SoftwareUpdate,
    responses(
        (status = 200, body = SoftwareAnswer, headers(("ETag"))), (status = 404),
        (status = 409, description = "the name is taken"),
        (status = 412, description = "it is not the version any more that `If-Match` names"),
        (status = 422),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<SoftwareId>,
    expected: IfMatch,
    body: Json<SoftwareUpdate>,
) -> Result<impl Responder, Problem> {
    let (software, id) = (&state.deployment.software, id.get()?);
    let body = body.up_to(MAX_BODY).value().await?;
    check_owner(body.customer_id, software.get(&permit.also()?, id).await?.customer_id)?;
    let says = body.variants.map(|variants| says(variants).check()).transpose()?;
    let change = Change { name: body.name, description: body.description, body: says };
    Ok(respond(software.change(&permit, id, expected.0, &change).await?))
}

/// Delete a piece of software. Rollouts that have begun go on; profiles that name it have to be
/// mended before they are applied again.
#[utoipa::path(
    delete, path = "/software/{id}", tag = "deployment", operation_id = "delete_software",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 412)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<SoftwareId>,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    state.deployment.software.delete(&permit, id.get()?, expected.0).await?;
    Ok(HttpResponse::NoContent())
}
