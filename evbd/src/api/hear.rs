//! A connection without a daemon behind it, for suites that say whatever to it.

use std::os::unix::net::UnixStream;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{broadcast, mpsc, watch},
};

use super::{
    access::Access,
    answer::{About, Desk, Request},
    server::{News, converse, welcome},
};
use crate::config::ControlConfig;

/// What is answered to `octets`, said after the handshake by a client that may do everything, to a daemon that knows of
/// nothing.
///
/// # Errors
/// When there are no sockets to be had.
pub fn hear(octets: &[u8]) -> anyhow::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, server) = UnixStream::pair()?;
        client.set_nonblocking(true)?;
        let mut client = tokio::net::UnixStream::from_std(client)?;
        let (requests, asked) = mpsc::channel(1);
        let access = Access::new(&ControlConfig::default())?;
        let about = About { name: "nobody".to_owned(), role: "station" };
        let desk = Desk { about, requests, access, interest: watch::channel(0).0 };
        let news = News { events: broadcast::channel(1).0, signals: broadcast::channel(1).0 };
        server.set_nonblocking(true)?;
        let server = tokio::net::UnixStream::from_std(server)?;
        let daemon = tokio::spawn(know_nothing(asked));
        let conversation = tokio::spawn(async move {
            let (stream, right) = welcome(server, zbus::Guid::generate().into(), &desk.access).await?;
            converse(stream, desk, right, news.feed()).await
        });
        let user: String =
            rustix::process::geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        let handshake = format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n");
        // A connection that is given up in the middle ends like one that was heard out.
        let _ = client.write_all(&[handshake.as_bytes(), octets].concat()).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        conversation.abort();
        daemon.abort();
        Ok(answer)
    })
}

async fn know_nothing(mut asked: mpsc::Receiver<Request>) {
    let nobody = || Err("nobody knows".to_owned());
    while let Some(request) = asked.recv().await {
        // The connection may be gone.
        match request {
            Request::Show { reply, .. } | Request::Stop { reply, .. } | Request::Events { reply, .. } => {
                let _ = reply.send(Vec::new());
            }
            Request::Objects { reply, .. } => drop(reply.send(Vec::new())),
            Request::Reload { reply } | Request::Why { reply, .. } | Request::Guest { reply, .. } => {
                drop(reply.send(nobody()));
            }
            Request::Vsi { reply, .. } => drop(reply.send(Err(serde_json::Value::Null))),
            Request::Trace { reply, .. } => drop(reply.send(Err("nobody knows".to_owned()))),
        }
    }
}
