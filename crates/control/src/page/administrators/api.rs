//! Administrators for tools: the changes of the page, by the same rules.

use super::Admin;
use crate::page::Routes;
use crate::{Account, Administrator, Center, Change, Problem, Role, Session, Visitor};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, add))
        .routes(routes!(show, update, remove))
        .routes(routes!(reset))
        .routes(routes!(no_factor))
        .routes(routes!(unlock))
        .routes(routes!(sessions, end_sessions))
}

/// All administrators.
#[utoipa::path(get, path = "/api/v1/administrators", tag = "administration", responses((status = 200, body = Vec<Administrator>)))]
async fn list(_: Admin, State(center): State<Center>) -> Result<Json<Vec<Administrator>>, Problem> {
    center.accounts.administrators().await.map(Json)
}

#[derive(Deserialize, utoipa::ToSchema)]
struct NewAdministrator {
    name: String,
    role: Role,
    /// 12 characters or more, to be changed by whoever gets it.
    password: String,
}

/// Makes an administrator.
#[utoipa::path(post, path = "/api/v1/administrators", tag = "administration", request_body = NewAdministrator, responses((status = 201, body = Administrator), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn add(
    may: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Json(new): Json<NewAdministrator>,
) -> Result<Response, Problem> {
    let name = new.name.clone();
    let change = Change::Add { name: new.name, role: new.role, password: new.password };
    center.accounts.change(&may.account, &visitor, change).await?;
    Ok((StatusCode::CREATED, Json(one(&center, &name).await?)).into_response())
}

async fn one(center: &Center, name: &str) -> Result<Administrator, Problem> {
    let found = center.accounts.administrators().await?.into_iter().find(|one| one.name == name);
    found.ok_or_else(|| Problem::Unknown { what: format!("there is no administrator {name}") })
}

/// Changes somebody who is there; gives how they are afterwards.
async fn changed(
    center: &Center,
    by: &Account,
    visitor: &Visitor,
    name: &str,
    changes: Vec<Change>,
) -> Result<Json<Administrator>, Problem> {
    one(center, name).await?;
    for change in changes {
        center.accounts.change(by, visitor, change).await?;
    }
    one(center, name).await.map(Json)
}

/// One administrator.
#[utoipa::path(get, path = "/api/v1/administrators/{name}", tag = "administration", params(("name" = String, Path)), responses((status = 200, body = Administrator), (status = 404, body = Problem)))]
async fn show(
    _: Admin,
    State(center): State<Center>,
    Path(name): Path<String>,
) -> Result<Json<Administrator>, Problem> {
    one(&center, &name).await.map(Json)
}

#[derive(Deserialize, utoipa::ToSchema)]
struct ChangedAdministrator {
    role: Option<Role>,
    /// Who is disabled cannot sign in, and is signed out everywhere.
    disabled: Option<bool>,
}

/// Changes a role, disables or enables. Both end all sessions of who is concerned.
#[utoipa::path(patch, path = "/api/v1/administrators/{name}", tag = "administration", params(("name" = String, Path)), request_body = ChangedAdministrator, responses((status = 200, body = Administrator), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn update(
    may: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Path(name): Path<String>,
    Json(wanted): Json<ChangedAdministrator>,
) -> Result<Json<Administrator>, Problem> {
    let role = wanted.role.map(|role| Change::Role { name: name.clone(), role });
    let disabled = wanted.disabled.map(|disabled| match disabled {
        true => Change::Disable { name: name.clone() },
        false => Change::Enable { name: name.clone() },
    });
    changed(&center, &may.account, &visitor, &name, role.into_iter().chain(disabled).collect()).await
}

/// Removes an administrator. The tokens that they made open nothing any more.
#[utoipa::path(delete, path = "/api/v1/administrators/{name}", tag = "administration", params(("name" = String, Path)), responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn remove(
    may: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    center.accounts.change(&may.account, &visitor, Change::Remove { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, utoipa::ToSchema)]
struct NewPassword {
    password: String,
    /// Also without the second step.
    #[serde(default)]
    factor: bool,
}

/// Gives somebody a new password, and signs them out everywhere.
#[utoipa::path(post, path = "/api/v1/administrators/{name}/password", tag = "administration", params(("name" = String, Path)), request_body = NewPassword, responses((status = 200, body = Administrator), (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn reset(
    may: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Path(name): Path<String>,
    Json(new): Json<NewPassword>,
) -> Result<Json<Administrator>, Problem> {
    let change = Change::Reset { name: name.clone(), password: new.password, factor: new.factor };
    changed(&center, &may.account, &visitor, &name, vec![change]).await
}

/// Takes away somebody's second step, whose authenticator is lost, and signs them out everywhere.
#[utoipa::path(delete, path = "/api/v1/administrators/{name}/factor", tag = "administration", params(("name" = String, Path)), responses((status = 200, body = Administrator), (status = 404, body = Problem)))]
async fn no_factor(
    may: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Json<Administrator>, Problem> {
    changed(&center, &may.account, &visitor, &name, vec![Change::NoFactor { name: name.clone() }]).await
}

/// Forgets failed sign-ins.
#[utoipa::path(post, path = "/api/v1/administrators/{name}/unlock", tag = "administration", params(("name" = String, Path)), responses((status = 200, body = Administrator), (status = 404, body = Problem)))]
async fn unlock(
    may: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Json<Administrator>, Problem> {
    changed(&center, &may.account, &visitor, &name, vec![Change::Unlock { name: name.clone() }]).await
}

/// Where somebody is signed in, last seen first.
#[utoipa::path(get, path = "/api/v1/administrators/{name}/sessions", tag = "administration", params(("name" = String, Path)), responses((status = 200, body = Vec<Session>), (status = 404, body = Problem)))]
async fn sessions(
    _: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Json<Vec<Session>>, Problem> {
    one(&center, &name).await?;
    center.accounts.sessions(&name, &visitor).await.map(Json)
}

/// Signs somebody out everywhere.
#[utoipa::path(delete, path = "/api/v1/administrators/{name}/sessions", tag = "administration", params(("name" = String, Path)), responses((status = 200, body = Administrator), (status = 404, body = Problem)))]
async fn end_sessions(
    may: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Json<Administrator>, Problem> {
    changed(&center, &may.account, &visitor, &name, vec![Change::EndSessions { name: name.clone() }]).await
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, send};
    use crate::{Change, Role};
    use std::sync::Arc;

    #[tokio::test]
    async fn tools_change_what_the_page_changes() {
        let name = || "Operator-person".to_owned();
        for (method, path, body, change) in [
            ("PATCH", "", r#"{"role":"read-only"}"#, Change::Role { name: name(), role: Role::ReadOnly }),
            ("PATCH", "", r#"{"disabled":true}"#, Change::Disable { name: name() }),
            ("PATCH", "", r#"{"disabled":false}"#, Change::Enable { name: name() }),
            ("DELETE", "/factor", "", Change::NoFactor { name: name() }),
            ("DELETE", "/sessions", "", Change::EndSessions { name: name() }),
            ("POST", "/unlock", "", Change::Unlock { name: name() }),
        ] {
            let world = Arc::<World>::default();
            let at = |who: &str| format!("/api/v1/administrators/{who}{path}");
            let (code, text) = send(&world, "Full", method, &at("Operator-person"), body).await;
            assert!(code == 200 && text.contains("\"name\":\"Operator-person\""), "{method} {path}: {code} {text}");
            assert_eq!(*world.changes.lock().unwrap(), [change]);
            assert_eq!(send(&world, "Full", method, &at("nobody"), body).await.0, 404, "{method} {path}");
            assert_eq!(send(&world, "Operator", method, &at("Operator-person"), body).await.0, 403);
            assert_eq!(world.changes.lock().unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_new_one_is_refused_at_its_field_and_sessions_have_no_secrets() {
        let world = Arc::<World>::default();
        let new = r#"{"name":"Full-person","role":"full","password":"short"}"#;
        let (code, text) = send(&world, "Full", "POST", "/api/v1/administrators", new).await;
        assert!(code == 422 && text.contains("\"field\":\"password\""), "{code} {text}");
        let new = new.replace("short", "long enough by far");
        assert_eq!(send(&world, "Full", "POST", "/api/v1/administrators", &new).await.0, 201);
        let (code, text) = send(&world, "Full", "GET", "/api/v1/administrators/Full-person/sessions", "").await;
        assert!(code == 200 && text.contains("192.0.2.7") && text.contains("\"current\":true"), "{text}");
        assert_eq!(send(&world, "Full", "DELETE", "/api/v1/administrators/Full-person", "").await.0, 204);
    }
}
