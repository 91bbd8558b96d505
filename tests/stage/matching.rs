//! Whether what was received is what the play expects, and if not, why not in words.
//!
//! Scansion's rules. Not strict: the expected attributes and children must be there, others may be. Strict: nothing
//! else may be, and children keep their order. Elements in the stream's own namespace are compared without
//! strictness, all others strictly; `scansion:strict` on an element says otherwise for it and what is in it.
//! `{scansion:any}` stands for any value, `{capture:NAME}` for any value that the play then knows as `${NAME}`,
//! `{absent}` (ours) for an attribute that must not be there.

use xmpp::Element;

use super::words::Variables;

const ANY: &str = "{scansion:any}";
const STREAM_NAMESPACES: [&str; 2] = ["jabber:client", "http://etherx.jabber.org/streams"];

/// Compares; captured values are added to the variables only if everything matched.
pub fn compare(expected: &Element, received: &Element, variables: &mut Variables) -> Result<(), String> {
    let mut learnt = variables.clone();
    element(expected, received, None, &mut learnt)?;
    *variables = learnt;
    Ok(())
}

/// An element's attributes as (name with namespace, value), without scansion's own.
fn attributes(of: &Element) -> Vec<(String, String)> {
    let named = of.attrs().iter().map(|((namespace, name), value)| {
        let name =
            if namespace.as_str().is_empty() { name.to_string() } else { format!("{{{}}}{name}", namespace.as_str()) };
        (name, value.clone())
    });
    named.filter(|(name, _)| !name.contains("scansion")).collect()
}

/// What the play says about an element's strictness.
fn said(expected: &Element) -> Option<bool> {
    let mut own = expected.attrs().iter();
    own.find(|((ns, name), _)| ns.as_str().contains("scansion") && name.as_str() == "strict")
        .map(|(_, value)| value == "true")
}

fn value(expected: &str, received: &str, learnt: &mut Variables) -> bool {
    if let Some(name) = expected.strip_prefix("{capture:").and_then(|rest| rest.strip_suffix('}')) {
        learnt.insert(name.to_owned(), received.to_owned());
        return true;
    }
    expected == ANY || expected == received
}

/// `outer` is the strictness of what the element stands in, if that was said or is strict.
fn element(expected: &Element, received: &Element, outer: Option<bool>, learnt: &mut Variables) -> Result<(), String> {
    let here = expected.name();
    if here != received.name() || expected.ns() != received.ns() {
        let (name, ns) = (received.name(), received.ns());
        return Err(format!("expected <{here} xmlns='{}'>, received <{name} xmlns='{ns}'>", expected.ns()));
    }
    let decided = said(expected).or(outer);
    let strict = decided.unwrap_or(!STREAM_NAMESPACES.contains(&expected.ns().as_str()));
    let outer = decided.or(strict.then_some(true));
    let wanted = attributes(expected);
    let given = attributes(received);
    for (name, want) in &wanted {
        let found = given.iter().find(|(given, _)| given == name);
        match found {
            None if want == "{absent}" => {}
            None => return Err(format!("<{here}> lacks the attribute {name}='{want}'")),
            Some((_, have)) if want == "{absent}" => return Err(format!("<{here}> must not have {name}='{have}'")),
            Some((_, have)) if value(want, have, learnt) => {}
            Some((_, have)) => return Err(format!("<{here}> has {name}='{have}', expected '{want}'")),
        }
    }
    if strict && let Some((name, have)) = given.iter().find(|(name, _)| !wanted.iter().any(|(w, _)| w == name)) {
        return Err(format!("<{here}> has {name}='{have}', expected no such attribute"));
    }
    let want = expected.texts().collect::<String>();
    let have = received.texts().collect::<String>();
    if (strict || !want.trim().is_empty()) && !value(want.trim(), have.trim(), learnt) {
        return Err(format!("<{here}> says '{}', expected '{}'", have.trim(), want.trim()));
    }
    let wanted: Vec<&Element> = expected.children().collect();
    let given: Vec<&Element> = received.children().collect();
    if strict {
        in_order(here, &wanted, &given, outer, learnt)
    } else {
        in_any_order(here, &wanted, &given, outer, learnt)
    }
}

fn in_order(
    here: &str,
    wanted: &[&Element],
    given: &[&Element],
    outer: Option<bool>,
    learnt: &mut Variables,
) -> Result<(), String> {
    for (want, have) in wanted.iter().zip(given) {
        element(want, have, outer, learnt)?;
    }
    if let Some(missing) = wanted.get(given.len()) {
        return Err(format!("<{here}> lacks a child: {}", String::from(*missing)));
    }
    match given.get(wanted.len()) {
        Some(extra) => Err(format!("<{here}> has a child that is not expected: {}", String::from(*extra))),
        None => Ok(()),
    }
}

/// Each wanted child must have a received one of its own; tries all ways to pair them.
fn in_any_order(
    here: &str,
    wanted: &[&Element],
    given: &[&Element],
    outer: Option<bool>,
    learnt: &mut Variables,
) -> Result<(), String> {
    let Some((want, others)) = wanted.split_first() else { return Ok(()) };
    let mut why = None;
    for (at, have) in given.iter().enumerate() {
        let mut tried = learnt.clone();
        let tried_one = element(want, have, outer, &mut tried).and_then(|()| {
            let mut left = given.to_vec();
            left.remove(at);
            in_any_order(here, others, &left, outer, &mut tried)
        });
        match tried_one {
            Ok(()) => {
                *learnt = tried;
                return Ok(());
            }
            Err(reason) if want.name() == have.name() && want.ns() == have.ns() => {
                why.get_or_insert(reason);
            }
            Err(_) => {}
        }
    }
    Err(why.unwrap_or_else(|| format!("<{here}> lacks a child: {}", String::from(*want))))
}

/// An element as indented lines, for people.
pub fn pretty(of: &Element) -> String {
    let mut out = String::new();
    indent(of, "jabber:client", 1, &mut out);
    out
}

fn indent(of: &Element, outer: &str, depth: usize, out: &mut String) {
    let tabs = "    ".repeat(depth);
    let mut attributes: String = attributes(of).iter().map(|(name, value)| format!(" {name}='{value}'")).collect();
    if of.ns() != outer {
        attributes = format!(" xmlns='{}'{attributes}", of.ns());
    }
    let text = of.texts().collect::<String>();
    let name = of.name();
    if of.children().next().is_none() {
        match text.trim() {
            "" => out.push_str(&format!("{tabs}<{name}{attributes}/>\n")),
            text => out.push_str(&format!("{tabs}<{name}{attributes}>{text}</{name}>\n")),
        }
        return;
    }
    out.push_str(&format!("{tabs}<{name}{attributes}>{}\n", text.trim()));
    for child in of.children() {
        indent(child, &of.ns(), depth + 1, out);
    }
    out.push_str(&format!("{tabs}</{name}>\n"));
}

#[cfg(test)]
mod tests {
    use super::super::frames::elements;
    use super::*;

    /// Expected, received, whether they match.
    const TABLE: &[(&str, &str, bool)] = &[
        // The stream's namespace is not strict.
        ("<message/>", "<message id='1'><body>x</body></message>", true),
        ("<message id='1'/>", "<message/>", false),
        ("<message id='1'/>", "<message id='2'/>", false),
        ("<message id='{scansion:any}'/>", "<message id='2'/>", true),
        ("<message id='{scansion:any}'/>", "<message/>", false),
        ("<message id='{absent}'/>", "<message/>", true),
        ("<message id='{absent}'/>", "<message id='2'/>", false),
        ("<message><body>a</body></message>", "<message><body>b</body></message>", false),
        ("<message><body>{scansion:any}</body></message>", "<message><body>b</body></message>", true),
        ("<message/>", "<presence/>", false),
        // Order is free there, and each child needs a partner of its own.
        ("<message><a/><b/></message>", "<message><b/><a/></message>", true),
        ("<message><a/><a/></message>", "<message><a/></message>", false),
        ("<message><a/><a x='1'/></message>", "<message><a x='1'/><a/></message>", true),
        // Everything else is.
        ("<iq><q xmlns='n'/></iq>", "<iq><q xmlns='n' a='b'/></iq>", false),
        ("<iq><q xmlns='n'/></iq>", "<iq><q xmlns='n'><r/></q></iq>", false),
        ("<iq><q xmlns='n'/></iq>", "<iq><q xmlns='n'>t</q></iq>", false),
        ("<iq><q xmlns='n'><a/><b/></q></iq>", "<iq><q xmlns='n'><b/><a/></q></iq>", false),
        ("<iq><q xmlns='n'><a/></q></iq>", "<iq><q xmlns='m'><a/></q></iq>", false),
        ("<iq><q xmlns='n'><a><b/></a></q></iq>", "<iq><q xmlns='n'><a><b/><c/></a></q></iq>", false),
        // Unless the play says otherwise, for the element and what is in it.
        (
            "<iq><q xmlns='n' scansion:strict='false'><b/></q></iq>",
            "<iq><q xmlns='n' a='b'><a/><b c='d'/></q></iq>",
            true,
        ),
        ("<iq><q xmlns='n' scansion:strict='false'><b/></q></iq>", "<iq><q xmlns='n'><a/></q></iq>", false),
        ("<iq scansion:strict='true'/>", "<iq id='1'/>", false),
        (
            "<iq><q xmlns='n' scansion:strict='false'><r scansion:strict='true'/></q></iq>",
            "<iq><q xmlns='n'><r a='b'/></q></iq>",
            false,
        ),
        // White space between elements is nobody's.
        ("<iq>\n<q xmlns='n'>\n<a/>\n</q></iq>", "<iq><q xmlns='n'><a/></q></iq>", true),
    ];

    #[test]
    fn the_rules_as_a_table() {
        for (expected, received, matches) in TABLE {
            let (want, have) = (elements(expected).unwrap().remove(0), elements(received).unwrap().remove(0));
            let result = compare(&want, &have, &mut Variables::new());
            assert_eq!(result.is_ok(), *matches, "{expected} and {received}: {result:?}");
        }
    }

    #[test]
    fn captured_values_are_known_afterwards_if_all_matched() {
        let want = elements("<message id='{capture:a}'><body>{capture:b}</body></message>").unwrap().remove(0);
        let have = elements("<message id='1'><body>x</body></message>").unwrap().remove(0);
        let other = elements("<message id='2'/>").unwrap().remove(0);
        let mut known = Variables::new();
        assert!(compare(&want, &other, &mut known).is_err());
        assert!(known.is_empty());
        compare(&want, &have, &mut known).unwrap();
        assert_eq!((known["a"].as_str(), known["b"].as_str()), ("1", "x"));
    }
}
