//! The forms of XEP-0004, and what is refused.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn form(inner: &str) -> Result<Form, FormError> {
    Form::parse(&format!("<x xmlns='jabber:x:data' {inner}</x>").parse().unwrap())
}

const BOT: Template = Template {
    form_type: "jabber:bot",
    title: "Bot Configuration",
    fields: &[
        Declared::new("botname", FieldType::TextSingle, "The name of your bot").required(),
        Declared::new("description", FieldType::TextMulti, "Helpful description of your bot"),
        Declared::new("public", FieldType::Boolean, "Public bot?"),
        Declared::list("features", FieldType::ListMulti, "Features", &[("news", "News"), ("search", "Search")]),
        Declared::list("maxsubs", FieldType::ListSingle, "Subscribers", &[("20", "20"), ("none", "None")]),
        Declared::new("owner", FieldType::JidSingle, "Owner"),
        Declared::new("invitelist", FieldType::JidMulti, "People to invite"),
    ],
};

#[test]
fn the_printed_submission_is_read() {
    let form = form(
        "type='submit'>
          <field type='hidden' var='FORM_TYPE'><value>jabber:bot</value></field>
          <field type='text-single' var='botname'><value>The Jabber Google Bot</value></field>
          <field type='text-multi' var='description'><value>This bot</value><value>is cool!</value></field>
          <field type='boolean' var='public'><value>0</value></field>
          <field type='list-multi' var='features'><value>news</value><value>search</value></field>
          <field type='list-single' var='maxsubs'><value>20</value></field>
          <field type='jid-multi' var='invitelist'><value>juliet@capulet.com</value></field>
          <field var='wherefore'><value>art</value></field>",
    )
    .unwrap();
    let read = BOT.read(&form).unwrap();
    assert_eq!(read.text("botname"), Some("The Jabber Google Bot"));
    assert_eq!(read.field("description").unwrap().to_lines(), "This bot\nis cool!");
    assert_eq!(read.bool("public"), Some(false));
    assert_eq!(read.values("features"), Some(vec!["news", "search"]));
    assert_eq!(read.text("owner"), None);
    assert_eq!(read.unknown, ["wherefore"]);
    assert_eq!(read.fields().count(), 8);
}

#[test]
fn what_we_ask_can_be_answered() {
    let asked = BOT.ask(|var| if var == "features" { vec!["news".to_owned()] } else { Vec::new() });
    assert_eq!(asked.form_type(), Some("jabber:bot"));
    assert_eq!(asked.title.as_deref(), Some("Bot Configuration"));
    let again = Form::parse(&asked.to_element()).unwrap();
    assert_eq!(again, asked);
    assert!(again.field("botname").unwrap().is_required);
    assert_eq!(again.field("maxsubs").unwrap().options.len(), 2);
    assert_eq!(BOT.read(&again).unwrap_err(), FormError::WrongType);
}

#[test]
fn booleans() {
    for (text, expected) in [("1", Some(true)), ("true", Some(true)), ("0", Some(false)), ("false", Some(false))]
        .into_iter()
        .chain(["", "yes", "TRUE", " 1", "2"].map(|bad| (bad, None)))
    {
        assert_eq!(Field::answer("b", text).to_bool().ok(), expected, "{text:?}");
    }
    assert_eq!(Field::new("b", FieldType::Boolean).to_bool(), Ok(false));
}

#[test]
fn numbers() {
    let read = |text: &str| Field::answer("n", text).to_number(1..=100);
    assert_eq!(read("1"), Ok(Some(1)));
    assert_eq!(read("100"), Ok(Some(100)));
    assert_eq!(read(""), Ok(None));
    for bad in ["0", "101", "-1", "+1", " 1", "1.0", "max", "99999999999999999999999"] {
        assert!(read(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn submissions_that_are_refused() {
    let refuse = |fields: &str| BOT.read(&form(&format!("type='submit'>{fields}")).unwrap()).unwrap_err();
    let name = "<field var='botname'><value>b</value></field>";
    let value = |var: &str, values: &[&str]| {
        let values: String = values.iter().map(|value| format!("<value>{value}</value>")).collect();
        refuse(&format!("{name}<field var='{var}'>{values}</field>"))
    };
    assert_eq!(refuse(""), FormError::Missing("botname".into()));
    assert_eq!(refuse("<field var='botname'/>"), FormError::Missing("botname".into()));
    assert_eq!(refuse("<field var='botname'><value/></field>"), FormError::Missing("botname".into()));
    assert_eq!(refuse("<field var='FORM_TYPE'><value>other</value></field>"), FormError::WrongType);
    assert!(matches!(value("public", &["maybe"]), FormError::Value { var, .. } if var == "public"));
    assert!(matches!(value("public", &["1", "0"]), FormError::Value { .. }));
    assert!(matches!(value("maxsubs", &["21"]), FormError::Value { .. }));
    assert!(matches!(value("maxsubs", &["20", "none"]), FormError::Value { .. }));
    assert!(matches!(value("features", &["news", "weather"]), FormError::Value { .. }));
    assert!(matches!(value("owner", &["@montague.net"]), FormError::Value { .. }));
    assert!(matches!(value("invitelist", &["juliet@capulet.com", "a@b@c/"]), FormError::Value { .. }));
}

#[test]
fn malformed_forms() {
    for bad in [
        ">",
        "type='error'>",
        "type='submit'><field/>",
        "type='submit'><field var='a'/><field var='a'/>",
        "type='form'><field type='list-single' var='a'><option/></field>",
        "type='form'><field type='list-single' var='a'><option><value/><value/></option></field>",
    ] {
        assert!(matches!(form(bad), Err(FormError::Malformed(_))), "{bad}");
    }
    assert!(Form::parse(&Element::bare("x", "jabber:x:other")).is_err());
}

#[test]
fn leniency_where_the_specification_asks_for_it() {
    let form = form(
        "type='form'><title>t</title><instructions>a</instructions><instructions>b</instructions>
         <field type='fixed'><value>Section</value></field>
         <field type='colour' var='c'/><field var='FORM_TYPE'><value>shown, so it does not count</value></field>
         <surprise/><x xmlns='other'/>",
    )
    .unwrap();
    assert_eq!(form.field("c").unwrap().type_, Some(FieldType::TextSingle));
    assert_eq!(form.instructions, ["a", "b"]);
    assert_eq!(form.form_type(), None);
}

#[test]
fn tables_of_results() {
    let form = form(
        "type='result'><reported><field var='name'/></reported>
         <item><field var='name'><value>Comune di Verona</value></field></item>
         <item><field var='name'><value>benvenuto!</value></field></item>",
    )
    .unwrap();
    assert_eq!(form.reported.len(), 1);
    assert_eq!(form.items.len(), 2);
    assert_eq!(Form::parse(&form.to_element()).unwrap(), form);
}

fn text() -> impl Strategy<Value = String> {
    // Forms cannot carry what XML cannot, nor a carriage return unescaped.
    "[ -~\u{e0}-\u{2ff}\u{1f600}]{0,12}"
}

fn field() -> impl Strategy<Value = Field> {
    let option = (proptest::option::of(text()), text()).prop_map(|(label, value)| Choice { label, value });
    (
        "[a-z#_]{1,8}",
        proptest::option::of(proptest::sample::select(&FieldType::ALL[..])),
        proptest::option::of(text()),
        any::<bool>(),
        proptest::collection::vec(option, 0..3),
        proptest::collection::vec(text(), 0..3),
    )
        .prop_map(|(var, type_, label, is_required, options, values)| Field {
            var: Some(var),
            type_,
            label,
            desc: None,
            is_required,
            options,
            values,
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        type_ in proptest::sample::select(&FormType::ALL[..]),
        title in proptest::option::of(text()),
        mut fields in proptest::collection::vec(field(), 0..6),
        items in proptest::collection::vec(proptest::collection::vec(field(), 1..3), 0..3),
    ) {
        fields.sort_by(|a, b| a.var.cmp(&b.var));
        fields.dedup_by(|a, b| a.var == b.var);
        let form = Form { type_, title, instructions: Vec::new(), fields, reported: Vec::new(), items };
        prop_assert_eq!(Form::parse(&form.to_element()).unwrap(), form);
    }

    #[test]
    fn a_checked_submission_reads_without_error(fields in proptest::collection::vec(
        (proptest::sample::select(BOT.fields), proptest::collection::vec("[a-z0-9@]{0,5}|true|news|20", 0..3)), 0..8)
    ) {
        let mut form = Form::new(FormType::Submit);
        for (declared, values) in fields {
            if form.field(declared.var).is_none() {
                form = form.with(Field::new(declared.var, declared.type_).values(values));
            }
        }
        if let Ok(read) = BOT.read(&form) {
            prop_assert!(!read.text("botname").unwrap().is_empty());
            for (var, field) in read.fields() {
                let declared = BOT.fields.iter().find(|declared| declared.var == var).unwrap();
                prop_assert!(declared.type_.is_multi() || field.values.len() <= 1);
                prop_assert!(declared.type_ != FieldType::Boolean || read.bool(var).is_some());
            }
        }
    }
}
