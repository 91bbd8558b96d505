//! Data forms (XEP-0004, version 2.13.2) and the FORM_TYPE convention (XEP-0068).
//!
//! A [`Form`] is what stands in the XML: fields with strings in them. A [`Template`] says what we expect of
//! a submission, and [`Template::read`] gives a [`Submission`] whose values have been checked against it:
//! no required field missing, at most one value where one is permitted, booleans that are booleans,
//! addresses that are addresses, choices that were offered. Fields a template does not know are ignored, as
//! section 3.1 demands, and listed for protocols that are stricter.

mod template;

use std::fmt;

use crate::xml::WithAttribute;
use crate::{Element, StanzaError, ns};

pub use template::{Declared, Submission, Template};

/// The variable that says which protocol a form belongs to (XEP-0068).
pub const FORM_TYPE: &str = "FORM_TYPE";

/// Where in a conversation a form stands (section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FormType {
    /// A question.
    Form,
    /// Its answer.
    Submit,
    /// No answer.
    Cancel,
    /// Data.
    Result,
}

impl FormType {
    const ALL: [Self; 4] = [Self::Form, Self::Submit, Self::Cancel, Self::Result];

    /// The value of the `type` attribute.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Submit => "submit",
            Self::Cancel => "cancel",
            Self::Result => "result",
        }
    }
}

/// What a field holds (section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// Yes or no.
    Boolean,
    /// Words to the reader.
    Fixed,
    /// Returned with the form unseen.
    Hidden,
    /// Several addresses.
    JidMulti,
    /// One address.
    JidSingle,
    /// Several of the options.
    ListMulti,
    /// One of the options.
    ListSingle,
    /// Lines, one per value.
    TextMulti,
    /// A line that is not shown.
    TextPrivate,
    /// A line.
    TextSingle,
}

impl FieldType {
    const ALL: [Self; 10] = [
        Self::Boolean,
        Self::Fixed,
        Self::Hidden,
        Self::JidMulti,
        Self::JidSingle,
        Self::ListMulti,
        Self::ListSingle,
        Self::TextMulti,
        Self::TextPrivate,
        Self::TextSingle,
    ];

    /// The value of the `type` attribute.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Fixed => "fixed",
            Self::Hidden => "hidden",
            Self::JidMulti => "jid-multi",
            Self::JidSingle => "jid-single",
            Self::ListMulti => "list-multi",
            Self::ListSingle => "list-single",
            Self::TextMulti => "text-multi",
            Self::TextPrivate => "text-private",
            Self::TextSingle => "text-single",
        }
    }

    /// Whether a field may have more than one value (section 3.2).
    pub const fn is_multi(self) -> bool {
        matches!(self, Self::Hidden | Self::JidMulti | Self::ListMulti | Self::TextMulti)
    }
}

/// One option of a list field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What to show.
    pub label: Option<String>,
    /// What to send.
    pub value: String,
}

/// One field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name in the form; absent only for `fixed`.
    pub var: Option<String>,
    /// Its type; may be absent in answers and results. A type we do not know reads as `text-single`.
    pub type_: Option<FieldType>,
    /// What to show beside it.
    pub label: Option<String>,
    /// A longer explanation.
    pub desc: Option<String>,
    /// Whether an answer must have it.
    pub is_required: bool,
    /// What to choose from.
    pub options: Vec<Choice>,
    /// What it holds.
    pub values: Vec<String>,
}

impl Field {
    /// A field without a value.
    pub fn new(var: &str, type_: FieldType) -> Self {
        Self { var: Some(var.to_owned()), type_: Some(type_), ..Self::default() }
    }

    /// A field for an answer: name and value, the type being known from the question.
    pub fn answer(var: &str, value: impl Into<String>) -> Self {
        Self { var: Some(var.to_owned()), values: vec![value.into()], ..Self::default() }
    }

    /// `<field type='hidden' var='FORM_TYPE'/>`
    pub fn form_type(form_type: &str) -> Self {
        Self::new(FORM_TYPE, FieldType::Hidden).value(form_type)
    }

    /// Adds a value.
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds values.
    #[must_use]
    pub fn values<V: Into<String>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    /// Sets the label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Marks the field as required.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// Adds an option.
    #[must_use]
    pub fn option(mut self, value: impl Into<String>, label: Option<&str>) -> Self {
        self.options.push(Choice { label: label.map(str::to_owned), value: value.into() });
        self
    }

    /// The first value.
    pub fn first(&self) -> Option<&str> {
        self.values.first().map(String::as_str)
    }

    fn name(&self) -> &str {
        self.var.as_deref().unwrap_or_default()
    }

    fn single(&self) -> Result<Option<&str>, FormError> {
        match self.values.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(FormError::value(self.name(), "has more than one value")),
        }
    }

    /// The one value; an absent and an empty one are the same, as section 3.6 leaves it to us.
    ///
    /// # Errors
    /// When there are several values.
    pub fn to_text(&self) -> Result<&str, FormError> {
        Ok(self.single()?.unwrap_or_default())
    }

    /// The lines of a `text-multi` field as one text (section 3.3, third note).
    pub fn to_lines(&self) -> String {
        self.values.join("\n")
    }

    /// A boolean: `1`, `0`, `true` or `false` (section 3.3, first note). No value is false, the default.
    ///
    /// # Errors
    /// When it is anything else, or there are several values.
    pub fn to_bool(&self) -> Result<bool, FormError> {
        match self.single()? {
            Some("1" | "true") => Ok(true),
            Some("0" | "false") | None => Ok(false),
            Some(_) => Err(FormError::value(self.name(), "is not a boolean")),
        }
    }

    /// A whole number within `range`; `None` when there is no value or an empty one.
    ///
    /// # Errors
    /// When it is not decimal digits, is outside of the range, or there are several values.
    pub fn to_number(&self, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, FormError> {
        let Some(text) = self.single()?.filter(|text| !text.is_empty()) else { return Ok(None) };
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|number| is_decimal && range.contains(number));
        number.map(Some).ok_or_else(|| FormError::value(self.name(), "is not a number in the permitted range"))
    }

    fn parse(element: &Element) -> Result<Self, FormError> {
        let type_ = element.attr("type").map(|name| {
            // Section 3.3: an unknown type is read as text-single.
            FieldType::ALL.into_iter().find(|type_| type_.name() == name).unwrap_or(FieldType::TextSingle)
        });
        let mut field = Self {
            var: element.attr("var").map(str::to_owned),
            type_,
            label: element.attr("label").map(str::to_owned),
            ..Self::default()
        };
        if field.var.is_none() && type_ != Some(FieldType::Fixed) {
            return Err(FormError::Malformed("a field has no var"));
        }
        for child in element.children().filter(|child| child.has_ns(ns::DATA_FORMS)) {
            match child.name() {
                "value" => field.values.push(child.text()),
                "desc" => field.desc = Some(child.text()),
                "required" => field.is_required = true,
                "option" => {
                    let mut values = child.children().filter(|child| child.is("value", ns::DATA_FORMS));
                    let (Some(value), None) = (values.next(), values.next()) else {
                        return Err(FormError::Malformed("an option must have one value"));
                    };
                    field.options.push(Choice { label: child.attr("label").map(str::to_owned), value: value.text() });
                }
                _ => {}
            }
        }
        Ok(field)
    }

    fn to_element(&self) -> Element {
        let text = |name: &str, text: &str| Element::builder(name, ns::DATA_FORMS).append(text).build();
        Element::builder("field", ns::DATA_FORMS)
            .attribute("type", self.type_.map(FieldType::name))
            .attribute("var", self.var.as_deref())
            .attribute("label", self.label.as_deref())
            .append_all(self.desc.as_deref().map(|desc| text("desc", desc)))
            .append_all(self.is_required.then(|| Element::bare("required", ns::DATA_FORMS)))
            .append_all(self.values.iter().map(|value| text("value", value)))
            .append_all(self.options.iter().map(|option| {
                Element::builder("option", ns::DATA_FORMS)
                    .attribute("label", option.label.as_deref())
                    .append(text("value", &option.value))
                    .build()
            }))
            .build()
    }
}

/// A form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Its place in the conversation.
    pub type_: FormType,
    /// Its name.
    pub title: Option<String>,
    /// What to do with it.
    pub instructions: Vec<String>,
    /// The fields, in the order in which to show them.
    pub fields: Vec<Field>,
    /// The head of a table of results (section 3.4).
    pub reported: Vec<Field>,
    /// The rows of that table.
    pub items: Vec<Vec<Field>>,
}

impl Form {
    /// A form without fields.
    pub const fn new(type_: FormType) -> Self {
        Self {
            type_,
            title: None,
            instructions: Vec::new(),
            fields: Vec::new(),
            reported: Vec::new(),
            items: Vec::new(),
        }
    }

    /// A form that belongs to a protocol.
    pub fn typed(type_: FormType, form_type: &str) -> Self {
        Self::new(type_).with(Field::form_type(form_type))
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// The field of this name.
    pub fn field(&self, var: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.var.as_deref() == Some(var))
    }

    /// The first value of the field of this name.
    pub fn value(&self, var: &str) -> Option<&str> {
        self.field(var).and_then(Field::first)
    }

    /// The protocol the form says it belongs to. XEP-0068 section 3.3: FORM_TYPE counts only when hidden,
    /// except in answers, where the type may be left out.
    pub fn form_type(&self) -> Option<&str> {
        let field = self.field(FORM_TYPE)?;
        let counts = field.type_ == Some(FieldType::Hidden) || self.type_ == FormType::Submit;
        field.first().filter(|_| counts)
    }

    /// Reads `<x xmlns='jabber:x:data'/>`.
    ///
    /// # Errors
    /// [`FormError::Malformed`] when it is no such element, has an unknown type, a field without a name, a
    /// name twice, or an option without exactly one value.
    pub fn parse(element: &Element) -> Result<Self, FormError> {
        if !element.is("x", ns::DATA_FORMS) {
            return Err(FormError::Malformed("this is not a data form"));
        }
        let type_ = element.attr("type").and_then(|name| FormType::ALL.into_iter().find(|type_| type_.name() == name));
        let mut form = Self::new(type_.ok_or(FormError::Malformed("the form has no known type"))?);
        for child in element.children().filter(|child| child.has_ns(ns::DATA_FORMS)) {
            match child.name() {
                "title" => form.title = Some(child.text()),
                "instructions" => form.instructions.push(child.text()),
                "field" => form.fields.push(Field::parse(child)?),
                "reported" => form.reported.extend(Self::parse_fields(child)?),
                "item" => form.items.push(Self::parse_fields(child)?),
                _ => {}
            }
        }
        let mut names: Vec<_> = form.fields.iter().filter_map(|field| field.var.as_deref()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(FormError::Malformed("two fields have the same var"));
        }
        Ok(form)
    }

    fn parse_fields(element: &Element) -> Result<Vec<Field>, FormError> {
        element.children().filter(|child| child.is("field", ns::DATA_FORMS)).map(Field::parse).collect()
    }

    /// The form in an element's children, if there is one.
    ///
    /// # Errors
    /// As [`Form::parse`].
    pub fn parse_in(parent: &Element) -> Result<Option<Self>, FormError> {
        parent.get_child("x", ns::DATA_FORMS).map(Self::parse).transpose()
    }

    /// Writes the form.
    pub fn to_element(&self) -> Element {
        let text = |name: &str, text: &str| Element::builder(name, ns::DATA_FORMS).append(text).build();
        let row = |name: &str, fields: &[Field]| {
            Element::builder(name, ns::DATA_FORMS).append_all(fields.iter().map(Field::to_element)).build()
        };
        Element::builder("x", ns::DATA_FORMS)
            .attribute("type", self.type_.name())
            .append_all(self.title.as_deref().map(|title| text("title", title)))
            .append_all(self.instructions.iter().map(|line| text("instructions", line)))
            .append_all(self.fields.iter().map(Field::to_element))
            .append_all((!self.reported.is_empty()).then(|| row("reported", &self.reported)))
            .append_all(self.items.iter().map(|item| row("item", item)))
            .build()
    }
}

/// Why a form is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormError {
    /// It is not a form as XEP-0004 describes it: `bad-request`.
    Malformed(&'static str),
    /// It belongs to another protocol, or its place in the conversation is another: `bad-request`.
    WrongType,
    /// A required field is missing or empty: `not-acceptable`.
    Missing(String),
    /// A value is not acceptable: `not-acceptable`.
    Value {
        /// The field.
        var: String,
        /// What is wrong with it, to follow the field's name in a sentence.
        why: &'static str,
    },
}

impl FormError {
    /// A value of the field `var` is refused because it `why`.
    pub fn value(var: &str, why: &'static str) -> Self {
        Self::Value { var: var.to_owned(), why }
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => f.write_str(why),
            Self::WrongType => f.write_str("the form is not of the expected type"),
            Self::Missing(var) => write!(f, "the field {var} is required"),
            Self::Value { var, why } => write!(f, "the field {var} {why}"),
        }
    }
}

impl std::error::Error for FormError {}

impl From<FormError> for StanzaError {
    fn from(error: FormError) -> Self {
        let refused = match error {
            FormError::Malformed(_) | FormError::WrongType => Self::bad_request(),
            // Section 4.
            FormError::Missing(_) | FormError::Value { .. } => Self::not_acceptable(),
        };
        refused.with_text(error.to_string())
    }
}

#[cfg(test)]
mod tests;
