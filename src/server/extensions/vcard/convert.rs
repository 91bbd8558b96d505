//! vcard-temp (XEP-0054) and vCard4 (XEP-0292, RFC 6351), each from the other: the fields both know (XEP-0292 section
//! "Mapping from vcard-temp to vCard4").
//!
//! What only one of them knows stays where it is: a conversion is given the card that was there before, replaces the
//! common fields in it and leaves the rest. Photos are not converted here; avatars are kept elsewhere.

use xmpp::{Element, ns};

/// Fields of vcard-temp that are one text, and what they are in vCard4: the property and the type of its value.
const PLAIN: [(&str, &str, &str); 10] = [
    ("FN", "fn", "text"),
    ("NICKNAME", "nickname", "text"),
    ("BDAY", "bday", "date"),
    ("TITLE", "title", "text"),
    ("ROLE", "role", "text"),
    ("DESC", "note", "text"),
    ("URL", "url", "uri"),
    ("TZ", "tz", "text"),
    ("REV", "rev", "timestamp"),
    ("UID", "uid", "text"),
];
const NAME: [(&str, &str); 5] =
    [("FAMILY", "surname"), ("GIVEN", "given"), ("MIDDLE", "additional"), ("PREFIX", "prefix"), ("SUFFIX", "suffix")];
const ADDRESS: [(&str, &str); 7] = [
    ("POBOX", "pobox"),
    ("EXTADD", "ext"),
    ("STREET", "street"),
    ("LOCALITY", "locality"),
    ("REGION", "region"),
    ("PCODE", "code"),
    ("CTRY", "country"),
];
/// Kinds of telephones and addresses that both know.
const TYPES: [(&str, &str); 7] = [
    ("HOME", "home"),
    ("WORK", "work"),
    ("VOICE", "voice"),
    ("FAX", "fax"),
    ("PAGER", "pager"),
    ("CELL", "cell"),
    ("VIDEO", "video"),
];
/// The other fields of vcard-temp that have a counterpart.
const TEMP_OTHERS: [&str; 9] = ["N", "ADR", "TEL", "EMAIL", "JABBERID", "GEO", "ORG", "CATEGORIES", "NOTE"];
/// The same in vCard4.
const CARD_OTHERS: [&str; 7] = ["n", "adr", "tel", "email", "geo", "org", "categories"];

/// A vCard4 that says what `temp` says, and what only vCard4 can say as `before` said it.
#[must_use]
pub(super) fn to_vcard4(temp: &Element, before: Option<&Element>) -> Element {
    let mut card = Element::bare("vcard", ns::VCARD4);
    for field in temp.children().filter(|child| child.has_ns(ns::VCARD)) {
        if let Some(property) = property_of(field) {
            card.append_child(property);
        }
    }
    for other in before.into_iter().flat_map(Element::children).filter(|child| !is_common_property(child)) {
        card.append_child(other.clone());
    }
    card
}

/// A vcard-temp that says what `card` says, and what only vcard-temp can say as `before` said it.
#[must_use]
pub(super) fn to_temp(card: Option<&Element>, before: Option<&Element>) -> Element {
    let mut temp = Element::bare("vCard", ns::VCARD);
    for property in card.into_iter().flat_map(Element::children).filter(|child| child.has_ns(ns::VCARD4)) {
        if let Some(field) = field_of(property) {
            temp.append_child(field);
        }
    }
    for other in before.into_iter().flat_map(Element::children).filter(|child| !is_common_field(child)) {
        temp.append_child(other.clone());
    }
    temp
}

fn is_common_field(field: &Element) -> bool {
    let name = field.name();
    field.has_ns(ns::VCARD) && (PLAIN.iter().any(|(temp, ..)| *temp == name) || TEMP_OTHERS.contains(&name))
}

fn is_common_property(property: &Element) -> bool {
    let name = property.name();
    property.has_ns(ns::VCARD4)
        && (PLAIN.iter().any(|(_, card, _)| *card == name)
            || CARD_OTHERS.contains(&name)
            || name == "impp" && address_of(property).is_some())
}

/// A property of vCard4 from a field of vcard-temp; none from an empty one.
fn property_of(field: &Element) -> Option<Element> {
    let name = field.name();
    if let Some((_, property, type_)) = PLAIN.iter().find(|(temp, ..)| *temp == name) {
        return Some(property_with(property, None, [value(type_, &text(field)?)]));
    }
    let typed = || parameters(field);
    match name {
        "N" => structured(field, "n", None, &NAME),
        "ADR" => structured(field, "adr", typed(), &ADDRESS),
        "TEL" => Some(property_with("tel", typed(), [value("text", &child_text(field, "NUMBER")?)])),
        "EMAIL" => Some(property_with("email", typed(), [value("text", &child_text(field, "USERID")?)])),
        "JABBERID" => Some(property_with("impp", None, [value("uri", &format!("xmpp:{}", text(field)?))])),
        "GEO" => {
            let (lat, lon) = (child_text(field, "LAT")?, child_text(field, "LON")?);
            Some(property_with("geo", None, [value("uri", &format!("geo:{lat},{lon}"))]))
        }
        "ORG" => {
            let parts: Vec<Element> = texts(field, &["ORGNAME", "ORGUNIT"]).map(|text| value("text", &text)).collect();
            (!parts.is_empty()).then(|| property_with("org", None, parts))
        }
        "CATEGORIES" => {
            let words: Vec<Element> = texts(field, &["KEYWORD"]).map(|text| value("text", &text)).collect();
            (!words.is_empty()).then(|| property_with("categories", None, words))
        }
        "NOTE" => Some(property_with("note", None, [value("text", &text(field)?)])),
        _ => None,
    }
}

/// A field of vcard-temp from a property of vCard4; none from an empty one.
fn field_of(property: &Element) -> Option<Element> {
    let name = property.name();
    if let Some((field, ..)) = PLAIN.iter().find(|(_, card, _)| *card == name) {
        return Some(leaf(field, &value_of(property)?));
    }
    let mut field = match name {
        "n" => unstructured(property, "N", &NAME)?,
        "adr" => unstructured(property, "ADR", &ADDRESS)?,
        "tel" => {
            let number = value_of(property)?;
            with(Element::bare("TEL", ns::VCARD), "NUMBER", number.strip_prefix("tel:").unwrap_or(&number))
        }
        "email" => with(Element::bare("EMAIL", ns::VCARD), "USERID", &value_of(property)?),
        "impp" => return Some(leaf("JABBERID", &address_of(property)?)),
        "geo" => {
            let place = value_of(property)?;
            let (lat, lon) = place.strip_prefix("geo:").unwrap_or(&place).split_once(',')?;
            let lon = lon.split([';', ',']).next().unwrap_or_default();
            with(with(Element::bare("GEO", ns::VCARD), "LAT", lat.trim()), "LON", lon.trim())
        }
        "org" => {
            let mut parts = values_of(property);
            let mut org = with(Element::bare("ORG", ns::VCARD), "ORGNAME", &parts.next()?);
            for unit in parts {
                org = with(org, "ORGUNIT", &unit);
            }
            org
        }
        "categories" => {
            let words = values_of(property);
            let categories = Element::bare("CATEGORIES", ns::VCARD);
            let categories = words.fold(categories, |categories, word| with(categories, "KEYWORD", &word));
            Some(categories).filter(|categories| categories.children().next().is_some())?
        }
        _ => return None,
    };
    if matches!(name, "adr" | "tel" | "email") {
        let flags = flags(property);
        let values = field.take_nodes();
        for flag in flags {
            field.append_child(Element::bare(flag, ns::VCARD));
        }
        for value in values {
            field.append_node(value);
        }
    }
    Some(field)
}

/// The text of an element; none when it is empty.
fn text(element: &Element) -> Option<String> {
    let text = element.text();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn child_text(field: &Element, name: &str) -> Option<String> {
    text(field.get_child(name, ns::VCARD)?)
}

fn texts<'a>(field: &'a Element, names: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    field.children().filter(|child| names.contains(&child.name())).filter_map(text)
}

fn value(type_: &str, text: &str) -> Element {
    Element::builder(type_, ns::VCARD4).append(text).build()
}

fn property_with(name: &str, parameters: Option<Element>, values: impl IntoIterator<Item = Element>) -> Element {
    Element::builder(name, ns::VCARD4).append_all(parameters).append_all(values).build()
}

/// What kind of address or number, and whether it is preferred.
fn parameters(field: &Element) -> Option<Element> {
    let has = |flag: &str| field.has_child(flag, ns::VCARD);
    let types: Vec<Element> =
        TYPES.iter().filter(|(flag, _)| has(flag)).map(|(_, type_)| value("text", type_)).collect();
    let mut parameters = Element::bare("parameters", ns::VCARD4);
    if !types.is_empty() {
        parameters.append_child(Element::builder("type", ns::VCARD4).append_all(types).build());
    }
    if has("PREF") {
        parameters.append_child(Element::builder("pref", ns::VCARD4).append(value("integer", "1")).build());
    }
    parameters.children().next().is_some().then_some(parameters)
}

/// The same as flags of vcard-temp.
fn flags(property: &Element) -> Vec<&'static str> {
    let Some(parameters) = property.get_child("parameters", ns::VCARD4) else { return Vec::new() };
    let mut flags = Vec::new();
    for type_ in parameters.children().filter(|child| child.name() == "type").flat_map(Element::children) {
        let flag = TYPES.iter().find(|(_, word)| type_.text().trim().eq_ignore_ascii_case(word));
        flags.extend(flag.map(|(flag, _)| *flag).filter(|flag| !flags.contains(flag)));
    }
    if parameters.has_child("pref", ns::VCARD4) {
        flags.push("PREF");
    }
    flags
}

fn structured(field: &Element, name: &str, typed: Option<Element>, parts: &[(&str, &str)]) -> Option<Element> {
    let values: Vec<Element> =
        parts.iter().filter_map(|(temp, card)| Some(value(card, &child_text(field, temp)?))).collect();
    (!values.is_empty()).then(|| property_with(name, typed, values))
}

fn unstructured(property: &Element, name: &str, parts: &[(&str, &str)]) -> Option<Element> {
    let mut field = Element::bare(name, ns::VCARD);
    for (temp, card) in parts {
        let values: Vec<String> = property.children().filter(|child| child.name() == *card).filter_map(text).collect();
        if !values.is_empty() {
            field = with(field, temp, &values.join(","));
        }
    }
    field.children().next().is_some().then_some(field)
}

fn leaf(name: &str, text: &str) -> Element {
    Element::builder(name, ns::VCARD).append(text).build()
}

fn with(mut field: Element, name: &str, text: &str) -> Element {
    field.append_child(leaf(name, text));
    field
}

fn values_of(property: &Element) -> impl Iterator<Item = String> + '_ {
    property.children().filter(|child| child.has_ns(ns::VCARD4) && child.name() != "parameters").filter_map(text)
}

fn value_of(property: &Element) -> Option<String> {
    values_of(property).next()
}

/// The XMPP address in an `impp`.
fn address_of(property: &Element) -> Option<String> {
    value_of(property)?.strip_prefix("xmpp:").filter(|address| !address.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use proptest::prelude::*;
    use xmpp::Element;
    use xmpp::xml::{element_bytes, parse_element};

    use super::{to_temp, to_vcard4};

    fn temp(inside: &str) -> Element {
        parse_element(format!("<vCard xmlns='vcard-temp'>{inside}</vCard>").as_bytes(), "").unwrap()
    }

    fn card(inside: &str) -> Element {
        let text = format!("<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>{inside}</vcard>");
        parse_element(text.as_bytes(), "").unwrap()
    }

    fn text(element: &Element) -> String {
        String::from_utf8(element_bytes(element).to_vec()).unwrap()
    }

    #[test]
    fn both_say_the_same() {
        for (old, new) in [
            ("<FN>Juliet</FN>", "<fn><text>Juliet</text></fn>"),
            (
                "<N><FAMILY>Capulet</FAMILY><GIVEN>Juliet</GIVEN><MIDDLE>C</MIDDLE></N>",
                "<n><surname>Capulet</surname><given>Juliet</given><additional>C</additional></n>",
            ),
            ("<NICKNAME>Jule</NICKNAME>", "<nickname><text>Jule</text></nickname>"),
            ("<BDAY>1476-06-09</BDAY>", "<bday><date>1476-06-09</date></bday>"),
            (
                "<TEL><HOME/><VOICE/><NUMBER>303-555-1212</NUMBER></TEL>",
                "<tel><parameters><type><text>home</text><text>voice</text></type></parameters>\
                 <text>303-555-1212</text></tel>",
            ),
            (
                "<EMAIL><WORK/><PREF/><USERID>j@capulet.lit</USERID></EMAIL>",
                "<email><parameters><type><text>work</text></type><pref><integer>1</integer></pref></parameters>\
                 <text>j@capulet.lit</text></email>",
            ),
            (
                "<ADR><HOME/><STREET>Via Cappello 23</STREET><LOCALITY>Verona</LOCALITY><CTRY>Italy</CTRY></ADR>",
                "<adr><parameters><type><text>home</text></type></parameters><street>Via Cappello 23</street>\
                 <locality>Verona</locality><country>Italy</country></adr>",
            ),
            ("<JABBERID>j@capulet.lit</JABBERID>", "<impp><uri>xmpp:j@capulet.lit</uri></impp>"),
            ("<GEO><LAT>45.4</LAT><LON>11.0</LON></GEO>", "<geo><uri>geo:45.4,11.0</uri></geo>"),
            (
                "<ORG><ORGNAME>Capulet</ORGNAME><ORGUNIT>Balcony</ORGUNIT></ORG>",
                "<org><text>Capulet</text><text>Balcony</text></org>",
            ),
            (
                "<CATEGORIES><KEYWORD>love</KEYWORD><KEYWORD>fate</KEYWORD></CATEGORIES>",
                "<categories><text>love</text><text>fate</text></categories>",
            ),
            ("<DESC>But soft</DESC>", "<note><text>But soft</text></note>"),
            ("<URL>https://capulet.lit/</URL>", "<url><uri>https://capulet.lit/</uri></url>"),
        ] {
            assert_eq!(text(&to_vcard4(&temp(old), None)), text(&card(new)), "{old}");
            assert_eq!(text(&to_temp(Some(&card(new)), None)), text(&temp(old)), "{new}");
        }
    }

    #[test]
    fn a_number_may_be_an_address() {
        let converted = to_temp(Some(&card("<tel><uri>tel:+1-303-308-3282</uri></tel>")), None);
        assert_eq!(text(&converted), text(&temp("<TEL><NUMBER>+1-303-308-3282</NUMBER></TEL>")));
    }

    #[test]
    fn what_one_cannot_say_stays_as_it_was() {
        let before = temp("<FN>Old</FN><MAILER>Nurse</MAILER><X-OWN xmlns='urn:x'/>");
        let new = to_temp(Some(&card("<fn><text>New</text></fn>")), Some(&before));
        assert_eq!(text(&new), text(&temp("<FN>New</FN><MAILER>Nurse</MAILER><X-OWN xmlns='urn:x'/>")));

        let before =
            card("<fn><text>Old</text></fn><gender><sex><text>F</text></sex></gender><impp><uri>sip:j@c</uri></impp>");
        let new = to_vcard4(&temp("<FN>New</FN><PHOTO><BINVAL>eA==</BINVAL></PHOTO>"), Some(&before));
        let wanted =
            "<fn><text>New</text></fn><gender><sex><text>F</text></sex></gender><impp><uri>sip:j@c</uri></impp>";
        assert_eq!(text(&new), text(&card(wanted)));
    }

    #[test]
    fn nothing_comes_of_what_is_empty() {
        let nothing = to_vcard4(&temp("<FN/><N/><TEL><HOME/><NUMBER/></TEL><ORG/><CATEGORIES/><GEO/>"), None);
        assert_eq!(text(&nothing), text(&card("")));
        let nothing = to_temp(Some(&card("<fn/><n/><tel><parameters/></tel><org/><geo><uri>geo:</uri></geo>")), None);
        assert_eq!(text(&nothing), text(&temp("")));
    }

    proptest! {
        /// There and back is what was there, and back once more changes nothing.
        #[test]
        fn there_and_back(name in "[A-Za-z]{1,20}", note in "[a-z ]{0,40}", home in any::<bool>()) {
            let flag = if home { "<HOME/>" } else { "" };
            let old = temp(&format!(
                "<FN>{name}</FN><EMAIL>{flag}<USERID>{name}@x</USERID></EMAIL><DESC>{note}</DESC><CLASS/>"
            ));
            let once = to_vcard4(&old, None);
            let back = to_temp(Some(&once), Some(&old));
            prop_assert_eq!(text(&to_vcard4(&back, Some(&once))), text(&once));
        }
    }
}
