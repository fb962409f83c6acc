//! The way from the routes of older products' agents to the adapter that knows credentials.

use std::sync::Arc;

use actix_web::{HttpRequest, ResponseError, web};
use async_trait::async_trait;
use muster_agent_socket::older::Refusal;
use muster_agent_socket::{Showing, Shown};
use muster_agents::Credential;
use muster_http::{AppState, Presented, Problem};
use muster_kernel::{Author, ProblemCode};

/// What a request shows, and who can tell whether it is good.
struct Here {
    presented: Presented,
    state: web::Data<AppState>,
}

#[async_trait]
impl Showing for Here {
    fn author(&self) -> &Author {
        self.presented.author()
    }

    async fn credential(&self) -> Result<Option<Credential>, Refusal> {
        self.presented.credential(&self.state).await.map_err(|problem| refusal(&problem))
    }

    async fn refused(&self) -> Option<Refusal> {
        let counted = self.presented.count_refusal(&self.state).await;
        counted.err().map(|problem| refusal(&problem))
    }
}

/// Nobody can tell.
struct Nowhere(Author);

#[async_trait]
impl Showing for Nowhere {
    fn author(&self) -> &Author {
        &self.0
    }

    async fn credential(&self) -> Result<Option<Credential>, Refusal> {
        let detail = "the server is not ready; try again in a moment".into();
        Err(Refusal { status: 503, code: ProblemCode::Unavailable, detail })
    }

    async fn refused(&self) -> Option<Refusal> {
        None
    }
}

fn refusal(problem: &Problem) -> Refusal {
    let (status, code) = (problem.status_code().as_u16(), problem.code());
    Refusal { status, code, detail: problem.detail().to_owned() }
}

/// Looks at what requests show.
pub(crate) fn shown() -> Shown {
    Arc::new(|request: &HttpRequest| match request.app_data::<web::Data<AppState>>() {
        Some(state) => {
            let presented = Presented::of(request, state);
            Arc::new(Here { presented, state: state.clone() })
        }
        None => Arc::new(Nowhere(Author::system())),
    })
}
