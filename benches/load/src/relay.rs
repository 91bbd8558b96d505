//! The physical yardstick: a server that moves the same bytes over the same kind of
//! sockets, with or without TLS, and understands none of them.
//!
//! A connection introduces itself with one line. `pair N` joins it to the other one of
//! that number: what either says is written to the other as it came. `hear` and `tell`
//! make a fan-out: a teller sends `NOTE ACK\n`, two lengths in bytes, and then as many;
//! every hearer is sent the note, one write each, and the teller the acknowledgement.
//!
//! One thread, one epoll, no allocation per message: what remains is the kernel's work
//! and the cipher's. It is no server for anything else, and trusts whoever connects.

use crate::Res;
use crate::client::err;
use crate::tls;
use clap::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConfig, ServerConnection};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

/// The bare relay.
#[derive(Args)]
pub(crate) struct Relay {
    /// Bytes asked of the kernel at once
    #[arg(long, default_value_t = 16384)]
    read_bytes: usize,
}

#[derive(Clone, Copy)]
enum Role {
    /// Has not introduced itself.
    New,
    /// One of a pair, and the other's place once it is there.
    Pair(Option<usize>),
    Hear,
    Tell,
}

struct Link {
    sock: TcpStream,
    tls: Option<ServerConnection>,
    role: Role,
    /// Read and not yet dealt with.
    input: Vec<u8>,
    /// Not yet accepted by the kernel.
    output: Vec<u8>,
}

impl Link {
    /// Read all there is into `into`; false at the end of the stream.
    fn read(&mut self, into: &mut Vec<u8>, chunk: &mut [u8]) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            loop {
                match self.sock.read(chunk) {
                    Ok(0) => return Ok(false),
                    Ok(n) => {
                        into.extend_from_slice(&chunk[..n]);
                        if n < chunk.len() {
                            return Ok(true);
                        }
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(e) => return Err(e),
                }
            }
        };
        let mut open = true;
        loop {
            match tls.read_tls(&mut self.sock) {
                Ok(0) => {
                    open = false;
                    break;
                }
                Ok(_) => {
                    let state = tls.process_new_packets().map_err(io::Error::other)?;
                    if state.plaintext_bytes_to_read() > 0 {
                        let n = tls.reader().read(chunk)?;
                        into.extend_from_slice(&chunk[..n]);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        self.flush()?;
        Ok(open)
    }

    /// Write now; what the kernel does not take is kept for [`Link::flush`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        let taken = if self.output.is_empty() { some(self.sock.write(bytes))? } else { 0 };
        self.output.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() && some(tls.write_tls(&mut self.sock))? > 0 {}
            return Ok(());
        }
        if !self.output.is_empty() {
            let n = some(self.sock.write(&self.output))?;
            self.output.drain(..n);
        }
        Ok(())
    }
}

/// How much was taken, nothing if it would block.
fn some(r: io::Result<usize>) -> io::Result<usize> {
    match r {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(0),
        r => r,
    }
}

struct House {
    links: Vec<Option<Link>>,
    hearers: Vec<usize>,
    /// First halves of pairs, by the pair's number.
    waiting: HashMap<String, usize>,
    /// What was just read; kept so that reading allocates nothing.
    fresh: Vec<u8>,
    chunk: Vec<u8>,
}

impl House {
    fn link(&mut self, at: usize) -> Option<&mut Link> {
        self.links.get_mut(at)?.as_mut()
    }

    /// The socket of link `at` has something, or has gone.
    fn readable(&mut self, at: usize) -> io::Result<bool> {
        let (mut fresh, mut chunk) = (std::mem::take(&mut self.fresh), std::mem::take(&mut self.chunk));
        fresh.clear();
        let open = match self.link(at) {
            Some(l) => l.read(&mut fresh, &mut chunk),
            None => Ok(true),
        };
        let dealt = self.deal(at, &fresh);
        (self.fresh, self.chunk) = (fresh, chunk);
        dealt?;
        open
    }

    fn deal(&mut self, at: usize, fresh: &[u8]) -> io::Result<()> {
        let Some(l) = self.link(at) else {
            return Ok(());
        };
        match l.role {
            Role::Pair(Some(other)) => self.write(other, fresh),
            Role::Pair(None) => {
                l.input.extend_from_slice(fresh);
                Ok(())
            }
            Role::Hear => Ok(()),
            Role::Tell => {
                l.input.extend_from_slice(fresh);
                self.tell(at)
            }
            Role::New => {
                l.input.extend_from_slice(fresh);
                self.introduce(at)
            }
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.link(at).map_or(Ok(()), |l| l.write(bytes))
    }

    fn introduce(&mut self, at: usize) -> io::Result<()> {
        let Some(l) = self.link(at) else {
            return Ok(());
        };
        let Some(end) = memchr::memchr(b'\n', &l.input) else {
            return Ok(());
        };
        let line: Vec<u8> = l.input.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line);
        match line.trim().split_once(' ') {
            Some(("pair", number)) => {
                l.role = Role::Pair(None);
                let Some(other) = self.waiting.remove(number) else {
                    self.waiting.insert(number.to_string(), at);
                    return Ok(());
                };
                for (me, you) in [(at, other), (other, at)] {
                    let early = self.link(me).map(|l| {
                        l.role = Role::Pair(Some(you));
                        std::mem::take(&mut l.input)
                    });
                    self.write(you, &early.unwrap_or_default())?;
                }
                Ok(())
            }
            None if line.trim() == "hear" => {
                l.role = Role::Hear;
                self.hearers.push(at);
                Ok(())
            }
            None if line.trim() == "tell" => {
                l.role = Role::Tell;
                self.tell(at)
            }
            _ => Err(io::Error::other("neither pair, hear nor tell")),
        }
    }

    /// Pass on the complete notes of teller `at`.
    fn tell(&mut self, at: usize) -> io::Result<()> {
        let Some(l) = self.link(at) else {
            return Ok(());
        };
        let mut input = std::mem::take(&mut l.input);
        let mut from = 0;
        while let Some(end) = memchr::memchr(b'\n', &input[from..]) {
            let head = String::from_utf8_lossy(&input[from..from + end]);
            let lengths = head.split_once(' ').and_then(|(n, a)| Some((n.parse().ok()?, a.parse().ok()?)));
            let (note, ack): (usize, usize) = lengths.ok_or_else(|| io::Error::other("not two lengths"))?;
            let start = from + end + 1;
            let Some(bytes) = input.get(start..start + note + ack) else {
                break;
            };
            let hearers = std::mem::take(&mut self.hearers);
            for h in &hearers {
                // A hearer that has gone is the generator's to notice.
                let _ = self.write(*h, &bytes[..note]);
            }
            self.hearers = hearers;
            self.write(at, &bytes[note..])?;
            from = start + note + ack;
        }
        input.drain(..from);
        if let Some(l) = self.link(at) {
            l.input = input;
        }
        Ok(())
    }

    fn leave(&mut self, at: usize) {
        if let Some(l) = self.links.get_mut(at) {
            *l = None;
        }
        self.hearers.retain(|h| *h != at);
        self.waiting.retain(|_, w| *w != at);
    }
}

const LISTENER: Token = Token(usize::MAX);

fn accept(listener: &TcpListener, poll: &Poll, house: &mut House, config: Option<&Arc<ServerConfig>>) -> Res<()> {
    loop {
        let mut sock = match listener.accept() {
            Ok((sock, _)) => sock,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(err(e)),
        };
        sock.set_nodelay(true).map_err(err)?;
        let token = Token(house.links.len());
        poll.registry().register(&mut sock, token, Interest::READABLE | Interest::WRITABLE).map_err(err)?;
        let tls = match config {
            Some(c) => {
                let mut tls = ServerConnection::new(c.clone()).map_err(err)?;
                tls.set_buffer_limit(None);
                Some(tls)
            }
            None => None,
        };
        house.links.push(Some(Link { sock, tls, role: Role::New, input: Vec::new(), output: Vec::new() }));
    }
}

/// Relay until killed.
pub(crate) fn serve(addr: SocketAddr, secure: bool, o: &Relay) -> Res<()> {
    let config = if secure { Some(tls::self_signed()?) } else { None };
    let mut poll = Poll::new().map_err(err)?;
    let mut listener = TcpListener::bind(addr).map_err(err)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(err)?;
    let mut house = House {
        links: Vec::new(),
        hearers: Vec::new(),
        waiting: HashMap::new(),
        fresh: Vec::new(),
        chunk: vec![0; o.read_bytes.max(512)],
    };
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            r => r.map_err(err)?,
        }
        for e in &events {
            if e.token() == LISTENER {
                accept(&listener, &poll, &mut house, config.as_ref())?;
                continue;
            }
            let at = e.token().0;
            let flushed = if e.is_writable() { house.link(at).map_or(Ok(()), Link::flush) } else { Ok(()) };
            let open = if e.is_readable() { house.readable(at) } else { Ok(true) };
            if flushed.is_err() || !matches!(open, Ok(true)) {
                house.leave(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::net::TcpStream as Sock;

    fn dial(addr: SocketAddr, hello: &str) -> Sock {
        let mut s = loop {
            if let Ok(s) = Sock::connect(addr) {
                break s;
            }
            std::thread::yield_now();
        };
        s.write_all(hello.as_bytes()).unwrap();
        s
    }

    fn expect(s: &mut Sock, want: &str) {
        let mut got = vec![0; want.len()];
        s.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), want);
    }

    #[test]
    fn relays_pairs_and_fans_out() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        std::thread::spawn(move || serve(addr, false, &Relay { read_bytes: 16384 }));
        let mut a = dial(addr, "pair 1\nearly ");
        let mut b = dial(addr, "pair 1\nhello");
        expect(&mut a, "hello");
        expect(&mut b, "early ");
        a.write_all(b"<message/>").unwrap();
        expect(&mut b, "<message/>");
        let hearers: Vec<_> = (0..3).map(|_| dial(addr, "hear\n")).collect();
        hearers.iter().for_each(|h| h.set_nonblocking(true).unwrap());
        let mut t = dial(addr, "tell\n");
        // A hearer is known once the relay has read its line: tell until all have heard.
        while !hearers.iter().all(|h| h.peek(&mut [0; 4]).is_ok_and(|n| n == 4)) {
            t.write_all(b"4 3\nnoteack4 3\nnoteACK").unwrap();
            expect(&mut t, "ackACK");
        }
        let mut hearer = hearers.into_iter().next().unwrap();
        hearer.set_nonblocking(false).unwrap();
        expect(&mut hearer, "notenote");
    }
}
