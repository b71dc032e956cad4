//! A snapshot with a bad signature, from somebody between a node and its network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::environment::Environment;
use resultity_server::publish::By;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::invariants::invariants;
use crate::harness::{TestServer, model, soon};
use crate::node::{Node, Parrot};
use crate::{brisk, request, text_of};

/// Passes everything on, but for snapshots, which it changes if it is told to.
struct Forger {
    address: SocketAddr,
    forges: Arc<AtomicBool>,
    forged: Arc<AtomicU64>,
}

impl Forger {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let forger = Self {
            address: listener.local_addr().unwrap(),
            forges: Arc::default(),
            forged: Arc::default(),
        };
        let (forges, forged) = (Arc::clone(&forger.forges), Arc::clone(&forger.forged));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server, Arc::clone(&forges), Arc::clone(&forged)));
            }
        });
        forger
    }
}

async fn pass_on(mut client: TcpStream, server: SocketAddr, forges: Arc<AtomicBool>, forged: Arc<AtomicU64>) {
    let mut upstream = TcpStream::connect(server).await.unwrap();
    let mut start = [0; 17];
    loop {
        match client.peek(&mut start).await {
            Ok(length) if length >= start.len() => break,
            // More is on the way.
            Ok(length) if length > 0 => tokio::task::yield_now().await,
            _ => return,
        }
    }
    // One at a time: a connection that is kept would get the next one past here.
    if start == *b"GET /io/v1/config" {
        let mut request = [0; 4096];
        let length = client.read(&mut request).await.unwrap();
        let head = String::from_utf8(request[..length].to_vec()).unwrap();
        let request = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        upstream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).await.unwrap();
        let mut text = String::from_utf8(answer).unwrap();
        if forges.load(Ordering::SeqCst) {
            // Of the same length, so that the head stays right.
            text = text.replace("Say yes.", "Say no!!");
            forged.fetch_add(1, Ordering::SeqCst);
        }
        let _ = client.write_all(text.as_bytes()).await;
        return;
    }
    let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
}

async fn until_digest(server: &TestServer, node: &Node, digest: B256) {
    let flow = server.running.app().flow();
    soon("the node to work by a snapshot", async {
        while flow.fleet.node(node.id).and_then(|view| view.config_digest) != Some(digest) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_refuses_it_works_on_with_the_last_good_one_and_takes_the_right_one_later() {
    let server = TestServer::with(brisk()).await;
    let (forger, dir) = (
        Forger::start(server.running.address()).await,
        tempfile::tempdir().unwrap(),
    );
    let node = Node::start(
        &format!("ws://{}/io/v1/ws", forger.address),
        dir.path(),
        Parrot::default(),
    );
    node.until_in_rotation(&server).await;
    let app = server.running.app();
    let before = app.flow().current().digest;
    until_digest(&server, &node, before).await;

    forger.forges.store(true, Ordering::SeqCst);
    let later = app
        .publisher()
        .approve(Environment::Testnet, model("later"), By::operator("more"))
        .await;
    later.unwrap();
    app.flow().catch_up(app.publisher()).await.unwrap();
    soon("a forged answer", async {
        while forger.forged.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // It is heard of again and again meanwhile, and answers what it could answer before.
    let answer = soon("an answer", text_of(&server, request("hello"), false)).await;
    assert_eq!(answer.unwrap(), Parrot::says("hello"));
    let view = app.flow().fleet.node(node.id).unwrap();
    assert_eq!(view.config_digest, Some(before));

    forger.forges.store(false, Ordering::SeqCst);
    until_digest(&server, &node, app.flow().current().digest).await;
    server.until_served("later").await;
    invariants(&server).await;
    node.stop().await;
}
