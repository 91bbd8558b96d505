//! `chirrup demo`: the main job in one go, over real TLS sockets, printed as it happens.
//!
//! A server of its own in `./data/demo`, with accounts whose passwords are printed: it listens on loopback only.
//! Afterwards it stays up for a client of the reader's own.

mod player;

use std::net::SocketAddr;
use std::path::PathBuf;

use chirrup::config::Config;
use chirrup::house::{House, Server};
use chirrup::tables::accounts::AccountError;
use clap::Args;
use xmpp::stanza::{IqType, Kind, PresenceType};
use xmpp::{BareJid, Element, Stanza, ns};

use super::serve::{Signals, keep};
use super::{Outcome, block_on, log, say};
use player::Player;

/// The feed every account has (XEP-0277 section 3, XEP-0472).
const FEED: &str = ns::MICROBLOG;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Port for STARTTLS; the next one is for direct TLS.
    #[arg(long, default_value_t = 5222, value_parser = clap::value_parser!(u16).range(1..65535))]
    port: u16,
    /// Where the demonstration keeps its data.
    #[arg(long, default_value = "./data/demo", value_name = "DIR")]
    data: PathBuf,
    /// End when the show is over.
    #[arg(long)]
    once: bool,
}

/// Shows it, and stays.
pub(super) fn run(args: &DemoArgs) -> Outcome {
    let _filter = log("warn")?;
    let mut config = Config { data_directory: args.data.clone(), ..Config::default() };
    for (addresses, port) in [(&mut config.listen.c2s, args.port), (&mut config.listen.c2s_tls, args.port + 1)] {
        *addresses = vec![SocketAddr::from(([127, 0, 0, 1], port))];
    }
    // Nobody else's server is in this show.
    config.listen.s2s.clear();
    config.listen.s2s_tls.clear();
    block_on(async {
        let signals = Signals::new()?;
        let server = Server::start(config)
            .await
            .map_err(|error| format!("{error}; `chirrup demo --port PORT` takes PORT and the one after it"))?;
        let shown = show(server.house(), args.port).await;
        if args.once || shown.is_err() {
            server.stop().await;
            return shown;
        }
        stay(args.port);
        keep(server, signals, &|| {}).await
    })
}

fn stay(port: u16) {
    say("");
    say("The server stays up. Log in as bob@localhost, password `bob`, and write to alice, or post yourself:");
    say(&format!("  Profanity:  /connect bob@localhost server 127.0.0.1 port {port} tls trust"));
    say(&format!(
        "  Gajim:      add the account bob@localhost; under Advanced: hostname 127.0.0.1, port {port}; accept the certificate"
    ));
    say("Ctrl-C ends it.");
}

async fn show(house: &House, port: u16) -> Outcome {
    let certificate = house.tls.certificate("localhost").and_then(|one| one.certified.cert.first().cloned());
    let certificate = certificate.ok_or("localhost has no certificate")?;
    let reach = |port, is_direct| player::Server {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        is_direct,
        certificate: certificate.clone(),
    };
    say(&format!("chirrup {} serves localhost on 127.0.0.1, ports {port} and {}", env!("CARGO_PKG_VERSION"), port + 1));
    let (alice_jid, bob_jid) = (account(house, "alice").await?, account(house, "bob").await?);
    say("accounts: alice@localhost and bob@localhost (password = name)");

    let mut alice = Player::enter(&reach(port + 1, true), alice_jid.clone(), "alice", &house.ids.id()).await?;
    say(&format!("alice  > logs in as {} over {}", alice.address(), alice.secured()));
    post(house, &mut alice, "Hello, world. This is my first post.").await?;

    let mut bob = Player::enter(&reach(port, false), bob_jid.clone(), "bob", &house.ids.id()).await?;
    say(&format!("bob    > logs in as {} over {}", bob.address(), bob.secured()));
    bob.send(&Stanza::new(Kind::Presence(PresenceType::Available))).await?;
    follow(&mut bob, &alice_jid, &bob_jid).await?;

    for text in ["Bob follows me now!", "What is a good name for a blue bird?"] {
        let id = post(house, &mut alice, text).await?;
        say(&format!("bob    < reads it: {}", news(&mut bob, &alice_jid, &id).await?));
    }
    say("bob    > reads alice's timeline, the newest three");
    for line in items(&mut bob, &alice_jid, &format!("<items node='{FEED}' max_items='3'/>")).await? {
        say(&format!("bob    < {line}"));
    }
    alice.leave().await;
    bob.leave().await;
    Ok(())
}

/// Opens an account whose password is its name, or gives it that password again.
async fn account(house: &House, name: &str) -> Result<BareJid, String> {
    let account = BareJid::from_parts(Some(name), "localhost").map_err(|error| error.to_string())?;
    let opened = match house.accounts.create(&account, name, house.clock.now()).await {
        Err(AccountError::Exists) => house.accounts.set_password(&account, name).await,
        opened => opened,
    };
    opened.map_err(|error| format!("{account}: {error}"))?;
    Ok(account)
}

/// Publishes an Atom entry (XEP-0277 section 3.1). Answers the item's id.
async fn post(house: &House, who: &mut Player, text: &str) -> Result<String, String> {
    let id = house.ids.id();
    let now = chirrup::runtime::rfc3339(house.clock.now());
    let publish = format!(
        "<pubsub xmlns='{}'><publish node='{FEED}'><item id='{id}'><entry xmlns='{}'>\
         <title type='text'>{text}</title><id>urn:chirrup:demo:{id}</id>\
         <published>{now}</published><updated>{now}</updated>\
         </entry></item></publish></pubsub>",
        ns::PUBSUB,
        ns::ATOM
    );
    who.ask(IqType::Set, None, ("pubsub", ns::PUBSUB, publish)).await?;
    say(&format!("alice  > posts: {text}"));
    Ok(id)
}

/// Subscribes to a feed (XEP-0060 section 6.1).
async fn follow(who: &mut Player, whom: &BareJid, as_whom: &BareJid) -> Outcome {
    let subscribe = format!("<pubsub xmlns='{}'><subscribe node='{FEED}' jid='{as_whom}'/></pubsub>", ns::PUBSUB);
    let answer = who.ask(IqType::Set, Some(whom), ("pubsub", ns::PUBSUB, subscribe)).await?;
    let state = opened(&answer, "pubsub", ns::PUBSUB)
        .and_then(|pubsub| Some(pubsub.get_child("subscription", ns::PUBSUB)?.attr("subscription")?.to_owned()))
        .unwrap_or_default();
    say(&format!("bob    > follows {whom}: {state}"));
    Ok(())
}

/// Waits for the notification (XEP-0060 section 7.1.2.1) of an item. The social profile's notifications name the item
/// and leave its payload out (XEP-0472, base profile), so it is asked for.
async fn news(who: &mut Player, from: &BareJid, id: &str) -> Result<String, String> {
    let item = |stanza: &Stanza| {
        let event = opened(stanza, "event", ns::PUBSUB_EVENT)?;
        event.get_child("items", ns::PUBSUB_EVENT)?.get_child("item", ns::PUBSUB_EVENT).cloned()
    };
    let is_from = |stanza: &Stanza| {
        stanza.head.from.as_ref().is_some_and(|sender| sender.as_bare_str() == from.as_str())
            && item(stanza).is_some_and(|item| item.attr("id") == Some(id))
    };
    let heard = who.next(is_from).await?;
    say(&format!("bob    < hears at once: {from} has a new post"));
    if let Some(title) = item(&heard).as_ref().and_then(title) {
        return Ok(title);
    }
    let asked = items(who, from, &format!("<items node='{FEED}'><item id='{id}'/></items>")).await?;
    asked.into_iter().next().ok_or_else(|| "the new post is not there".to_owned())
}

/// The titles of the items asked for (XEP-0060 section 6.5), in the order of the answer.
async fn items(who: &mut Player, whose: &BareJid, what: &str) -> Result<Vec<String>, String> {
    let asked = format!("<pubsub xmlns='{}'>{what}</pubsub>", ns::PUBSUB);
    let answer = who.ask(IqType::Get, Some(whose), ("pubsub", ns::PUBSUB, asked)).await?;
    let pubsub = opened(&answer, "pubsub", ns::PUBSUB).ok_or("the answer holds no items")?;
    let items = pubsub.get_child("items", ns::PUBSUB).ok_or("the answer holds no items")?;
    Ok(items.children().filter_map(title).collect())
}

fn opened(stanza: &Stanza, name: &str, ns: &str) -> Option<Element> {
    stanza.content.child(name, ns)?.open().ok()
}

/// The title of an item's entry.
fn title(item: &Element) -> Option<String> {
    Some(item.get_child("entry", ns::ATOM)?.get_child("title", ns::ATOM)?.text())
}
