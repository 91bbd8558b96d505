//! What is well-formed and what is not, as tables; the bounds of the strict pass; trees, and writing them.

use proptest::prelude::*;

use super::super::{
    Context, Element, XmlError, element_bytes, parse_element, parse_element_in, set_attr, write_element,
};
use super::generated;
use crate::limits::Limits;

fn read(text: &str) -> Result<Element, XmlError> {
    parse_element_in(text.as_bytes(), &Context::client(), &Limits::client())
}

#[test]
fn what_is_not_well_formed_has_its_error() {
    use XmlError::{BadEncoding, NotWellFormed, Restricted};
    for (text, error) in [
        // XML 1.0: one element, properly nested.
        ("", NotWellFormed),
        ("a", NotWellFormed),
        ("<a>", NotWellFormed),
        ("<a></b>", NotWellFormed),
        ("<a><b></a></b>", NotWellFormed),
        ("<a/><b/>", NotWellFormed),
        ("<a/>b", NotWellFormed),
        ("<a/>&amp;", NotWellFormed),
        (" <a/>", NotWellFormed),
        ("\u{feff}<a/>", NotWellFormed),
        ("<a", NotWellFormed),
        ("<a/", NotWellFormed),
        // Names.
        ("<1a/>", NotWellFormed),
        ("<-a/>", NotWellFormed),
        ("< a/>", NotWellFormed),
        ("</a>", NotWellFormed),
        ("<a\u{d7}/>", NotWellFormed),
        ("<a></ a>", NotWellFormed),
        ("<a></a b=''>", NotWellFormed),
        ("<a></a/>", NotWellFormed),
        // Attributes.
        ("<a b/>", NotWellFormed),
        ("<a b=c/>", NotWellFormed),
        ("<a b='c\"/>", NotWellFormed),
        ("<a b='c'd='e'/>", NotWellFormed),
        ("<a b='c' b='d'/>", NotWellFormed),
        ("<a b='<'/>", NotWellFormed),
        ("<a b='&'/>", NotWellFormed),
        ("<a b='&#0;'/>", NotWellFormed),
        ("<a b='&#xFFFE;'/>", NotWellFormed),
        ("<a b='&foo;'/>", Restricted),
        ("<a 1='b'/>", NotWellFormed),
        ("<a ='b'/>", NotWellFormed),
        ("<a / >", NotWellFormed),
        // Text.
        ("<a>]]></a>", NotWellFormed),
        ("<a>&</a>", NotWellFormed),
        ("<a>&amp</a>", NotWellFormed),
        ("<a>&;</a>", NotWellFormed),
        ("<a>& amp;</a>", NotWellFormed),
        ("<a>&#;</a>", NotWellFormed),
        ("<a>&#x;</a>", NotWellFormed),
        ("<a>&#X41;</a>", NotWellFormed),
        ("<a>&#+65;</a>", NotWellFormed),
        ("<a>&#xD800;</a>", NotWellFormed),
        ("<a>&#x110000;</a>", NotWellFormed),
        ("<a>&#x10000000000000041;</a>", NotWellFormed),
        ("<a>&#11;</a>", NotWellFormed),
        ("<a>\u{0}</a>", NotWellFormed),
        ("<a>\u{b}</a>", NotWellFormed),
        ("<a>\u{fffe}</a>", NotWellFormed),
        ("<a>\u{ffff}</a>", NotWellFormed),
        ("<a><![cdata[]]></a>", NotWellFormed),
        ("<a><![CDATA[]></a>", NotWellFormed),
        // RFC 6120 section 11.1.
        ("<a>&foo;</a>", Restricted),
        ("<a><!-- --></a>", Restricted),
        ("<a><?b?></a>", Restricted),
        ("<?xml version='1.0'?><a/>", Restricted),
        ("<!DOCTYPE a><a/>", Restricted),
        // Namespaces in XML.
        ("<x:a/>", NotWellFormed),
        ("<a x:b=''/>", NotWellFormed),
        ("<a:b:c xmlns:a='urn:a'/>", NotWellFormed),
        ("<:a/>", NotWellFormed),
        ("<a:/>", NotWellFormed),
        ("<a><x:b xmlns:x='urn:x'/><x:c/></a>", NotWellFormed),
        ("<a xmlns:x=''/>", NotWellFormed),
        ("<a xmlns='urn:a' xmlns='urn:b'/>", NotWellFormed),
        ("<a xmlns:x='urn:a' xmlns:x='urn:a'/>", NotWellFormed),
        ("<a xmlns:x='urn:a' xmlns:y='urn:a' x:b='' y:b=''/>", NotWellFormed),
        ("<a xmlns:xmlns='urn:a'/>", NotWellFormed),
        (
            "<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
            NotWellFormed,
        ),
        ("<a xmlns:xml='urn:a'/>", NotWellFormed),
        ("<a xmlns:x='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed),
        ("<a xmlns='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed),
        ("<a xmlns:x='http://www.w3.org/2000/xmlns/'/>", NotWellFormed),
        ("<a xmlns='http://www.w3.org/2000/xmlns/'/>", NotWellFormed),
        ("<xmlns:a/>", NotWellFormed),
    ] {
        let found = read(text).map(drop);
        assert_eq!(found, Err(error), "{text}");
    }
    for bytes in
        [&b"<a>\xff</a>"[..], b"<a>\xc0\x80</a>", b"<a>\xed\xa0\x80</a>", b"<a>\xf4\x90\x80\x80</a>", b"<a>\xe9</a>"]
    {
        assert_eq!(parse_element(bytes, "").map(drop), Err(BadEncoding));
    }
}

#[test]
fn what_is_well_formed_means_what_it_means() {
    for (text, canonical) in [
        ("<a></a>", "<a/>"),
        ("<a\n></a\t>", "<a/>"),
        ("<a b = \"c'd\" e='\"'/>", "<a b='c&apos;d' e='&quot;'/>"),
        ("<a b='x\ty\nz'/>", "<a b='x y z'/>"),
        ("<a b='x\r\ny\rz'/>", "<a b='x y z'/>"),
        ("<a b='x&#10;y&#9;'/>", "<a b='x&#10;y&#9;'/>"),
        ("<a>x\r\ny\rz&#13;</a>", "<a>x\ny\nz&#13;</a>"),
        ("<a>&#x1F980;&#0000065;&lt;&gt;&amp;&apos;&quot;</a>", "<a>\u{1f980}A&lt;&gt;&amp;'\"</a>"),
        ("<a>]]&gt; ]] ></a>", "<a>]]&gt; ]] &gt;</a>"),
        ("<a><![CDATA[<&>]]]]><![CDATA[>]]></a>", "<a>&lt;&amp;&gt;]]&gt;</a>"),
        ("<a>\u{7f}\u{85}\u{1fffe}</a>", "<a>\u{7f}\u{85}\u{1fffe}</a>"),
        ("<x:a xmlns:x='urn:x'><b/></x:a>", "<a xmlns='urn:x' xmlns:x='urn:x'><b xmlns='jabber:client'/></a>"),
        (
            "<a xmlns:z='urn:z' xmlns:s='urn:s' s:type='z:t'>z:y</a>",
            "<a xmlns:z='urn:z' xmlns:s='urn:s' s:type='z:t'>z:y</a>",
        ),
        ("<a xmlns='urn:a'><b xmlns='urn:a'/><c xmlns=''/></a>", "<a xmlns='urn:a'><b/><c xmlns=''/></a>"),
        (
            "<stream:a stream:b='' xml:lang='en'/>",
            "<a xmlns='http://etherx.jabber.org/streams' xml:lang='en' xmlns:n0='http://etherx.jabber.org/streams' n0:b=''/>",
        ),
        ("<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>", "<a/>"),
    ] {
        let tree = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let bytes = element_bytes(&tree);
        let written = std::str::from_utf8(&bytes).unwrap();
        // The order of attributes is the tree's.
        assert_eq!(read(written).unwrap(), tree, "{text}");
        assert_eq!(written.len(), canonical.len(), "{written} {canonical}");
        assert_eq!(read(canonical).unwrap(), tree, "{text}");
    }
}

#[test]
fn the_strict_pass_is_bounded() {
    let limits = Limits {
        attributes_max: 3,
        elements_max: 4,
        depth_max: 3,
        name_bytes_max: 5,
        namespace_bytes_max: 8,
        declarations_max: 5,
        ..Limits::client()
    };
    let read = |text: &str| parse_element_in(text.as_bytes(), &Context::client(), &limits).map(drop);
    for (good, bad, error) in [
        ("<a b='' c='' d=''/>", "<a b='' c='' d='' e=''/>", XmlError::TooManyAttributes),
        ("<a><b/><c/><d/></a>", "<a><b/><c/><d/><e/></a>", XmlError::TooManyElements),
        ("<a><b><c/></b></a>", "<a><b><c><d/></c></b></a>", XmlError::TooDeep),
        ("<abcde/>", "<abcdef/>", XmlError::NameTooLong),
        ("<a bcdef=''/>", "<a bcdefg=''/>", XmlError::NameTooLong),
        ("<a xmlns='12345678'/>", "<a xmlns='123456789'/>", XmlError::NameTooLong),
        // `xml`, the default and `stream` are three already.
        (
            "<a xmlns='1'><b xmlns='2'/></a>",
            "<a xmlns='1'><b xmlns='2'><c xmlns='3'/></b></a>",
            XmlError::TooManyAttributes,
        ),
    ] {
        assert_eq!(read(good), Ok(()), "{good}");
        assert_eq!(read(bad), Err(error), "{bad}");
    }
}

/// Names in values and in text mean what they meant: whatever stands for a namespace still does, and nothing that is
/// added stands for another.
#[test]
fn prefixes_that_were_declared_stay() {
    for (text, written) in [
        (
            "<v xmlns='urn:v' xmlns:s='urn:s' xmlns:z='urn:z' s:type='z:t'>z:y</v>",
            "<v xmlns='urn:v' xmlns:s='urn:s' xmlns:z='urn:z' s:type='z:t'>z:y</v>",
        ),
        ("<a xmlns:p='urn:1'><b xmlns:p='urn:2' p:c=''/></a>", "<a xmlns:p='urn:1'><b xmlns:p='urn:2' p:c=''/></a>"),
        // The outer prefix is shadowed.
        (
            "<a xmlns:p='urn:1' xmlns:q='urn:1'><b xmlns:q='urn:2' p:c=''/></a>",
            "<a xmlns:p='urn:1' xmlns:q='urn:1'><b xmlns:q='urn:2' p:c=''/></a>",
        ),
        // What stood further out has to be said, by a name that is free.
        (
            "<a xmlns:n0='urn:0' stream:b=''/>",
            "<a xmlns:n0='urn:0' xmlns:n1='http://etherx.jabber.org/streams' n1:b=''/>",
        ),
    ] {
        let bytes = element_bytes(&read(text).unwrap());
        assert_eq!(std::str::from_utf8(&bytes), Ok(written));
    }
}

#[test]
fn what_xml_cannot_carry_is_not_written() {
    let mut element = Element::bare("a", "jabber:client");
    element.append_text("a\u{0}b\u{1b}c\u{ffff}d\u{fffd}e\u{ff}\u{fb01}");
    set_attr(&mut element, "b", "\u{8}");
    let mut out = Vec::new();
    write_element(&mut out, &element, "jabber:client");
    assert_eq!(out, "<a b='\u{fffd}'>a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{ff}\u{fb01}</a>".as_bytes());
}

proptest! {
    #![proptest_config(crate::cases(500))]

    #[test]
    fn a_tree_survives_writing(text in generated::element()) {
        let tree = read(&text).unwrap();
        let bytes = element_bytes(&tree);
        prop_assert_eq!(&parse_element(&bytes, "jabber:client").unwrap(), &tree);
        // The bytes lean on nothing: anywhere else they are the same, if they say so at all.
        if !tree.has_ns("jabber:client") {
            prop_assert_eq!(&parse_element(&bytes, "urn:elsewhere").unwrap(), &tree);
        }
        prop_assert_eq!(element_bytes(&parse_element(&bytes, "jabber:client").unwrap()), bytes);
    }

    #[test]
    fn any_text_survives_escaping(text in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]*") {
        let mut element = Element::bare("a", "jabber:client");
        set_attr(&mut element, "b", &text);
        element.append_text(text.clone());
        let again = parse_element(&element_bytes(&element), "jabber:client").unwrap();
        prop_assert_eq!(again.attr("b"), Some(&*text));
        prop_assert_eq!(again.text(), text);
    }
}
