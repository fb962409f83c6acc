//! A listener for scrapers, who have no credential: an address of its own, which only they reach.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use muster_http::Exposition;
use tokio_util::sync::CancellationToken;

/// Takes the address.
pub(crate) fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address);
    listener.with_context(|| format!("MUSTER_METRICS_LISTEN: listening on {address}"))
}

/// Answers `GET /metrics`, until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    exposition: Arc<dyn Exposition>,
    stop: CancellationToken,
) {
    let address = listener.local_addr().ok().map(|address| address.to_string());
    let server = HttpServer::new(move || {
        let exposition = exposition.clone();
        let answer = move || {
            let text = exposition.render();
            async move {
                HttpResponse::Ok()
                    .content_type("text/plain; version=0.0.4; charset=utf-8")
                    .body(text)
            }
        };
        App::new().route("/metrics", web::get().to(answer))
    });
    let server = match server.workers(1).disable_signals().listen(listener) {
        Ok(server) => server.run(),
        Err(error) => {
            return tracing::error!(error.cause = %error, "metrics could not be served");
        }
    };
    tracing::info!(server.address = address, "metrics are served");
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    stop.cancelled().await;
    handle.stop(false).await;
    drop(serving.await);
}
