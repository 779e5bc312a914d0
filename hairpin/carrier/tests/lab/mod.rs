//! Network namespaces without names, one thread each, and what moves bytes between them. Everything ends with the test.

// No suite uses all of it; namespaces and raw sockets have no safe interface; what fails here fails the test.
#![allow(dead_code, unsafe_code)]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use carrier::{Batch, Options, PacketPort};
use ether::Tag;

/// How long anything may take before it counts as broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace and the thread that lives in it.
pub(crate) struct Ns {
    jobs: mpsc::Sender<Job>,
    tid: i32,
}

impl Ns {
    pub(crate) fn new() -> Self {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, tid) = mpsc::channel();
        thread::spawn(move || {
            // SAFETY: takes no pointers; changes this thread only.
            let (result, tid) = unsafe { (libc::unshare(libc::CLONE_NEWNET), libc::gettid()) };
            let error = std::io::Error::last_os_error();
            ready.send(if result == 0 { Ok(tid) } else { Err(error) }).unwrap();
            for job in inbox {
                job();
            }
        });
        let tid = tid.recv().unwrap().unwrap_or_else(|error| {
            panic!("this suite makes network namespaces and packet sockets and must run as root: {error}")
        });
        let ns = Self { jobs, tid };
        ns.ip("link set lo up");
        ns
    }

    /// Runs `job` in the namespace.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, answer) = mpsc::channel();
        self.jobs.send(Box::new(move || result.send(job()).unwrap())).unwrap();
        answer.recv().expect("the job panicked")
    }

    /// What `ip` knows the namespace by.
    pub(crate) fn tid(&self) -> i32 {
        self.tid
    }

    /// Runs `ip` with these arguments in the namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        self.output(arguments);
    }

    /// What `ip` says to these arguments in the namespace.
    pub(crate) fn output(&self, arguments: &str) -> String {
        let command = arguments.to_owned();
        self.run(move || {
            let output = Command::new("ip").args(command.split_whitespace()).output().expect("ip (iproute2)");
            assert!(output.status.success(), "ip {command}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    /// A veth from `name` here to `peer_name` in `peer`, both up.
    pub(crate) fn veth(&self, name: &str, peer: &Self, peer_name: &str) {
        self.ip(&format!("link add name {name} type veth peer name {peer_name} netns {}", peer.tid));
        self.ip(&format!("link set {name} up"));
        peer.ip(&format!("link set {peer_name} up"));
    }

    /// A tap called `name`, up; what is read from the file the host has sent, what is written it receives.
    pub(crate) fn tap(&self, name: &str) -> File {
        let mut request = [0; 40];
        request[..name.len()].copy_from_slice(name.as_bytes());
        let flags = u16::try_from(libc::IFF_TAP | libc::IFF_NO_PI).unwrap();
        request[libc::IFNAMSIZ..][..2].copy_from_slice(&flags.to_ne_bytes());
        let file = self.run(move || {
            let file = File::options().read(true).write(true).open("/dev/net/tun").expect("/dev/net/tun");
            // SAFETY: a live request of the size of `struct ifreq`.
            let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
            assert_eq!(result, 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
            file
        });
        self.ip(&format!("link set {name} up"));
        file
    }

    /// A station: a namespace with one interface `eth0` of this address in a /24, whose other end `name` is in `hub`.
    pub(crate) fn station(hub: &Self, name: &str, address: Ipv4Addr) -> Self {
        let station = Self::new();
        hub.veth(name, &station, "eth0");
        station.ip(&format!("addr add {address}/24 dev eth0"));
        station
    }

    /// A port, with a ring if the last letter of its name says so: most relays have ports of both kinds.
    pub(crate) fn port(&self, name: &str) -> PacketPort {
        self.ports(name, 1).remove(0)
    }

    /// The sockets of a port, one for each of `threads` threads.
    pub(crate) fn ports(&self, name: &str, threads: usize) -> Vec<PacketPort> {
        let name = name.to_owned();
        let ring = if name.ends_with(['0', '2', '4', 'k', 'n']) { 1024 } else { 0 };
        self.run(move || PacketPort::open_group(&name, &Options { ring, ..Options::default() }, threads))
            .unwrap()
    }
}

/// Asks `done` again and again, with short pauses, until it says yes.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `fd` is readable, or for `limit`; returns whether it is.
pub(crate) fn readable(fd: &impl AsRawFd, limit: Duration) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&raw mut poll, 1, i32::try_from(limit.as_millis()).unwrap()) > 0 }
}

/// One ICMP echo from `from` to `to`; returns whether a reply came within `limit`.
pub(crate) fn ping_once(from: &Ns, to: Ipv4Addr, limit: Duration) -> bool {
    let socket = from.run(move || {
        // SAFETY: takes no pointers; the descriptor is new and nobody else's.
        let socket = unsafe {
            OwnedFd::from_raw_fd(libc::socket(
                libc::AF_INET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::IPPROTO_ICMP,
            ))
        };
        UdpSocket::from(socket)
    });
    let mut request = [8, 0, 0, 0, 0x45, 0x56, 0, 1, b'e', b'v', b'b', b'd'];
    let sum: u32 = request.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    request[2..4].copy_from_slice(&(!folded).to_be_bytes());
    let deadline = Instant::now() + limit;
    if socket.connect((to, 0)).is_err() || socket.send(&request).is_err() {
        return false;
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        socket.set_read_timeout(Some(left)).unwrap();
        let mut reply = [0; 128];
        // Behind the 20 octets of IP header: echo reply, our identifier.
        let n = socket.recv(&mut reply).unwrap_or(0);
        if n >= 28 && reply[20] == 0 && reply[24..26] == [0x45, 0x56] {
            return true;
        }
    }
}

/// Pings until a reply comes.
pub(crate) fn ping(from: &Ns, to: Ipv4Addr) {
    until(&format!("ping {to}"), || ping_once(from, to, Duration::from_millis(200)));
}

/// Sends `octets` octets of a known pattern by TCP and compares what arrives; returns Gbit/s.
pub(crate) fn tcp(from: &Ns, to: &Ns, address: IpAddr, octets: usize) -> f64 {
    let listener = to.run(move || TcpListener::bind((address, 0))).unwrap();
    let target = listener.local_addr().unwrap();
    let server = thread::spawn(move || receive(&listener, octets));
    let mut client = from.run(move || TcpStream::connect_timeout(&target, PATIENCE)).expect("TCP connects");
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    let start = Instant::now();
    let pattern = pattern();
    let mut left = octets;
    while left > 0 {
        let n = left.min(pattern.len());
        client.write_all(&pattern[..n]).expect("TCP sends");
        left -= n;
    }
    drop(client);
    server.join().expect("what arrives is what was sent");
    octets as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9
}

fn receive(listener: &TcpListener, octets: usize) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let pattern = pattern();
    let mut buffer = vec![0; 1 << 18];
    let mut got = 0;
    loop {
        let n = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("{error}"),
        };
        let mut bytes = &buffer[..n];
        while !bytes.is_empty() {
            let at = got % pattern.len();
            let same = bytes.len().min(pattern.len() - at);
            assert!(bytes[..same] == pattern[at..at + same], "octets differ after {got}");
            got += same;
            bytes = &bytes[same..];
        }
    }
    assert_eq!(got, octets);
}

/// Octets that repeat after a prime number of them, so that a lost or moved piece shows.
fn pattern() -> Vec<u8> {
    let mut rng = Rng(7);
    (0..1_000_003).map(|_| rng.next().to_be_bytes()[0]).collect()
}

/// xorshift64: the same numbers in every run.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.next() % bound).unwrap()
    }
}

/// Reads frames at `tap` until one satisfies `wanted`, which gets its tag and the octets from the EtherType on.
pub(crate) fn see(tap: &mut PacketPort, what: &str, mut wanted: impl FnMut(Option<Tag>, &[u8]) -> bool) {
    let mut batch = Batch::new();
    until(what, || {
        tap.receive(&mut batch).unwrap();
        batch.frames().flatten().any(|frame| wanted(frame.tag, frame.rest))
    });
}

/// Reads what comes out of a tap until a frame satisfies `wanted`.
pub(crate) fn see_at(tap: &mut File, what: &str, wanted: impl Fn(&[u8]) -> bool) {
    let mut frame = vec![0; 70_000];
    until(what, || {
        assert!(readable(tap, PATIENCE), "{what}");
        let octets = tap.read(&mut frame).unwrap();
        wanted(&frame[..octets])
    });
}

/// Asserts that no frame that waits at `tap` satisfies `unwanted`.
pub(crate) fn see_none(tap: &mut PacketPort, mut unwanted: impl FnMut(Option<Tag>, &[u8]) -> bool) {
    let mut batch = Batch::new();
    while tap.receive(&mut batch).unwrap() > 0 {
        assert!(!batch.frames().flatten().any(|frame| unwanted(frame.tag, frame.rest)));
    }
}

/// A UDP socket of `ns` bound to `address`.
pub(crate) fn udp(ns: &Ns, address: Ipv4Addr) -> (UdpSocket, SocketAddr) {
    let socket = ns.run(move || UdpSocket::bind((IpAddr::V4(address), 0))).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let local = socket.local_addr().unwrap();
    (socket, local)
}

/// Lets the kernel cut what `socket` sends into datagrams of `octets`, as late as it can.
pub(crate) fn segment(socket: &UdpSocket, octets: i32) {
    let size = libc::socklen_t::try_from(size_of::<i32>()).unwrap();
    // SAFETY: a live integer with its own size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const octets).cast(),
            size,
        )
    };
    assert_eq!(result, 0, "UDP_SEGMENT: {}", std::io::Error::last_os_error());
}
