//! Port extenders and bridges killed and started again under a stream of pings.

use evb_tests::{evbd_program, netns::Netns};
use evbd::api::Client;

use super::tree::{BRIDGE, after, blackout, carrier, cascade, extender, host, mark, reaches, stream, up};
use crate::PATIENCE;

/// A bridge, and a port extender with two hosts behind another one with one.
struct Tree {
    bridge: Netns,
    first: Netns,
    second: Netns,
    hosts: Vec<Netns>,
    /// Of bridge, first and second.
    processes: [usize; 3],
    clients: [Client; 3],
    configs: [String; 3],
}

impl Tree {
    async fn new(loss: &str) -> Self {
        let (mut bridge, mut first, mut second) =
            (Netns::new("bridge"), Netns::new("first"), Netns::new("second"));
        cascade(&bridge, "c0", &first, "up0");
        cascade(&first, "k0", &second, "up0");
        let hosts = vec![host(&first, "p1", 1), host(&first, "p2", 2), host(&second, "p1", 3)];
        let configs =
            [BRIDGE.to_owned(), extender(loss, &["p1", "p2"], true), extender(loss, &["p1"], false)];
        let (a, cb) = bridge.evbd(evbd_program!(), &configs[0]).await;
        let (b, one) = first.evbd(evbd_program!(), &configs[1]).await;
        let (c, two) = second.evbd(evbd_program!(), &configs[2]).await;
        let tree =
            Self { bridge, first, second, hosts, processes: [a, b, c], clients: [cb, one, two], configs };
        tree.whole().await;
        tree
    }

    /// All ports are there and everybody reaches everybody.
    async fn whole(&self) {
        up(&self.clients[0], 4).await;
        for (from, to) in [(0, 2), (0, 3), (2, 1)] {
            assert!(reaches(&self.hosts[from], to, PATIENCE), "{from} {to}");
        }
    }

    /// Kills one of the daemons and starts it again; for how many milliseconds host 1 did not reach hosts 2 and 3.
    async fn kill(&mut self, place: usize) -> [u64; 2] {
        let pings = [stream(&self.hosts[0], 2, 4), stream(&self.hosts[0], 3, 4)];
        // They are under way.
        assert!(reaches(&self.hosts[0], 3, PATIENCE));
        let netns = [&mut self.bridge, &mut self.first, &mut self.second];
        let Some(netns) = netns.into_iter().nth(place) else { panic!("no daemon {place}") };
        netns.kill(self.processes[place]);
        let (process, client) = netns.evbd(evbd_program!(), &self.configs[place]).await;
        (self.processes[place], self.clients[place]) = (process, client);
        let seen = tokio::task::spawn_blocking(|| pings.map(|pings| blackout(&pings()))).await.unwrap();
        self.whole().await;
        seen
    }
}

/// Kills each of the daemons once.
async fn kill_each(loss: &str) {
    let holds = loss.contains("hold");
    let mut tree = Tree::new(loss).await;
    for (place, name) in [(0, "bridge"), (1, "first port extender"), (2, "nested port extender")] {
        let before = mark(&tree.clients[1]).await;
        let [near, far] = tree.kill(place).await;
        println!(
            "{loss}: {name} killed and started: host 2 away for {near} ms, the nested host 3 for {far} ms"
        );
        assert!(near < 5000 && far < 5000);
        if place == 2 {
            assert_eq!(near, 0, "who is not behind it does not notice");
        }
        if place == 0 {
            // A station behind a port extender that holds has its carrier all the time.
            let past = tree.clients[1].events(before).await.unwrap();
            assert_eq!(past.iter().any(|e| e["event"] == "port_lowered"), !holds, "{past:#?}");
            assert!(tree.hosts.iter().all(carrier));
        }
    }
}

#[tokio::test]
async fn killed_and_started() {
    kill_each("\"down\"").await;
}

#[tokio::test]
async fn killed_and_started_with_hold() {
    kill_each("{ hold = 30 }").await;
}

/// A port extender moves from the bridge to another port extender while all run: its ports are the same ports elsewhere.
#[tokio::test]
async fn a_cable_is_moved() {
    let (mut bridge, mut first, mut second) =
        (Netns::new("bridge"), Netns::new("first"), Netns::new("second"));
    cascade(&bridge, "c0", &first, "up0");
    cascade(&bridge, "c1", &second, "up0");
    let (one, two) = (host(&first, "p1", 1), host(&second, "p1", 2));
    let (_, cb) = bridge.evbd(evbd_program!(), &format!("{BRIDGE}{}", BRIDGE_SECOND)).await;
    first.evbd(evbd_program!(), &extender("\"down\"", &["p1"], true)).await;
    let (_, moved) = second.evbd(evbd_program!(), &extender("\"down\"", &["p1"], false)).await;
    up(&cb, 2).await;
    assert!(reaches(&one, 2, PATIENCE));
    for round in 0..2 {
        let since = std::time::Instant::now();
        let before = mark(&moved).await;
        let (from, to) = if round == 0 { (&bridge, &first) } else { (&first, &bridge) };
        let (old, new) = if round == 0 { ("c1", "k0") } else { ("k0", "c1") };
        from.run("ip", &["link", "set", old, "netns", to.name(), "name", new]);
        to.run("ip", &["link", "set", new, "mtu", "1512"]);
        to.run("ip", &["link", "set", new, "up"]);
        after(&moved, before, "port_raised", "p1").await;
        // Behind the first port extender there is one more: its cascade port.
        let count = if round == 0 { 3 } else { 2 };
        let rows = up(&cb, count).await;
        let behind = |cascade: &str| {
            rows.iter()
                .filter(|row| crate::says(row, "port").starts_with(cascade) && row["link"] == "up")
                .count()
        };
        assert_eq!((behind("c0:"), behind("c1:")), if round == 0 { (3, 0) } else { (1, 1) });
        assert!(reaches(&one, 2, PATIENCE) && reaches(&two, 1, PATIENCE));
        println!("moved {old} to {new}: traffic after {:?}", since.elapsed());
    }
}

const BRIDGE_SECOND: &str = "[[port]]\ninterface = \"c1\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\n";

/// Two bridges offer themselves: the better offer is taken, the other one when that is lost, and the better one again.
#[tokio::test]
async fn the_better_of_two_bridges() {
    let (mut good, mut spare, mut pe) = (Netns::new("good"), Netns::new("spare"), Netns::new("extender"));
    cascade(&good, "c0", &pe, "up0");
    cascade(&spare, "c0", &pe, "up1");
    let hosts = [host(&pe, "p1", 1), host(&pe, "p2", 2)];
    let with = |priority| format!("{BRIDGE}[extension]\npriority = {priority}\n");
    let (_, cb) = good.evbd(evbd_program!(), &with(10)).await;
    let (_, other) = spare.evbd(evbd_program!(), &with(20)).await;
    let config =
        extender("\"down\"", &["p1", "p2"], false) + "[[port]]\ninterface = \"up1\"\nkind = \"upstream\"\n";
    let (_, evbd) = pe.evbd(evbd_program!(), &config).await;
    up(&cb, 2).await;
    up(&other, 0).await;
    assert!(reaches(&hosts[0], 2, PATIENCE));
    for (state, chosen, lost) in [("down", &other, &cb), ("up", &cb, &other)] {
        let before = mark(&evbd).await;
        let since = std::time::Instant::now();
        good.run("ip", &["link", "set", "c0", state]);
        let port = if state == "down" { "up1" } else { "up0" };
        after(&evbd, before, "upstream", port).await;
        up(chosen, 2).await;
        let took = since.elapsed();
        up(lost, 0).await;
        assert!(reaches(&hosts[0], 2, PATIENCE));
        println!("the better bridge's cable {state}: ports are up at the other one after {took:?}");
        assert!(took < super::tree::SOON, "{took:?}");
    }
}
