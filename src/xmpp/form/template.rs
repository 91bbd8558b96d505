//! What we expect of a submission, declared as a table, and the submission once it has been checked
//! (XEP-0004 section 4: validation is the work of the form-processing entity).

use crate::Jid;

use super::{Choice, FORM_TYPE, Field, FieldType, Form, FormError, FormType};

/// A field we ask for.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// Its name.
    pub var: &'static str,
    /// Its type.
    pub type_: FieldType,
    /// What to show beside it.
    pub label: &'static str,
    /// Whether an answer must have it.
    pub is_required: bool,
    /// What to choose from, as value and label. For list fields only.
    pub options: &'static [(&'static str, &'static str)],
}

impl Declared {
    /// A voluntary field without options.
    pub const fn new(var: &'static str, type_: FieldType, label: &'static str) -> Self {
        Self { var, type_, label, is_required: false, options: &[] }
    }

    /// A voluntary field with options.
    pub const fn list(
        var: &'static str,
        type_: FieldType,
        label: &'static str,
        options: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { var, type_, label, is_required: false, options }
    }

    /// The same, required.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    fn to_field(self, values: Vec<String>) -> Field {
        Field {
            var: Some(self.var.to_owned()),
            type_: Some(self.type_),
            label: Some(self.label.to_owned()),
            desc: None,
            is_required: self.is_required,
            options: self
                .options
                .iter()
                .map(|(value, label)| Choice { label: Some((*label).to_owned()), value: (*value).to_owned() })
                .collect(),
            values,
        }
    }

    fn check(&self, field: &Field) -> Result<(), FormError> {
        if !self.type_.is_multi() && field.values.len() > 1 {
            return Err(FormError::value(self.var, "has more than one value"));
        }
        if self.is_required && field.values.iter().all(String::is_empty) {
            return Err(FormError::Missing(self.var.to_owned()));
        }
        match self.type_ {
            FieldType::Boolean => field.to_bool().map(|_| ()),
            FieldType::ListSingle | FieldType::ListMulti if !self.options.is_empty() => {
                let is_offered = |given: &String| self.options.iter().any(|(value, _)| value == given);
                // An empty value unsets a field that is not required (section 3.6).
                let mut given = field.values.iter().filter(|value| !value.is_empty());
                match given.all(is_offered) {
                    true => Ok(()),
                    false => Err(FormError::value(self.var, "has a value that is not one of the options")),
                }
            }
            FieldType::JidSingle | FieldType::JidMulti => {
                match field.values.iter().all(|value| value.is_empty() || Jid::new(value).is_ok()) {
                    true => Ok(()),
                    false => Err(FormError::value(self.var, "has a value that is not a JID")),
                }
            }
            _ => Ok(()),
        }
    }
}

/// A form as we ask it.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// The value of FORM_TYPE.
    pub form_type: &'static str,
    /// The title shown.
    pub title: &'static str,
    /// The fields, in the order in which to show them.
    pub fields: &'static [Declared],
}

impl Template {
    /// The question, each field holding the values that `current` gives for its name.
    pub fn ask(&self, mut current: impl FnMut(&str) -> Vec<String>) -> Form {
        let mut form = Form::typed(FormType::Form, self.form_type);
        form.title = Some(self.title.to_owned());
        form.fields.extend(self.fields.iter().map(|declared| declared.to_field(current(declared.var))));
        form
    }

    /// Checks an answer. A missing FORM_TYPE is tolerated when the wrapping protocol leaves no doubt, as
    /// clients are known to omit it; a wrong one is not.
    ///
    /// # Errors
    /// [`FormError::WrongType`] when it is not an answer to this form, otherwise the first field at fault,
    /// in the order of the template.
    pub fn read<'a>(&self, form: &'a Form) -> Result<Submission<'a>, FormError> {
        let is_ours = form.form_type().is_none_or(|form_type| form_type == self.form_type);
        if form.type_ != FormType::Submit || !is_ours {
            return Err(FormError::WrongType);
        }
        for declared in self.fields {
            match form.field(declared.var) {
                Some(field) => declared.check(field)?,
                None if declared.is_required => return Err(FormError::Missing(declared.var.to_owned())),
                None => {}
            }
        }
        let is_known = |var: &str| var == FORM_TYPE || self.fields.iter().any(|declared| declared.var == var);
        let unknown = form.fields.iter().filter_map(|field| field.var.as_deref()).filter(|var| !is_known(var));
        Ok(Submission { form, unknown: unknown.collect() })
    }
}

/// A checked answer. A field that was not submitted is `None`: its value is to stay as it is (section 3.5).
#[derive(Clone, Debug)]
pub struct Submission<'a> {
    form: &'a Form,
    /// Fields the template does not have.
    pub unknown: Vec<&'a str>,
}

impl<'a> Submission<'a> {
    /// The field itself.
    pub fn field(&self, var: &str) -> Option<&'a Field> {
        self.form.field(var)
    }

    /// The fields that were submitted, in their order, FORM_TYPE among them.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a Field)> + use<'a> {
        self.form.fields.iter().filter_map(|field| Some((field.var.as_deref()?, field)))
    }

    /// A line, an option or an address; an empty value and none are the same.
    pub fn text(&self, var: &str) -> Option<&'a str> {
        self.field(var).map(|field| field.first().unwrap_or_default())
    }

    /// All values but empty ones.
    pub fn values(&self, var: &str) -> Option<Vec<&'a str>> {
        let field = self.field(var)?;
        Some(field.values.iter().map(String::as_str).filter(|value| !value.is_empty()).collect())
    }

    /// A boolean.
    pub fn bool(&self, var: &str) -> Option<bool> {
        self.field(var).and_then(|field| field.to_bool().ok())
    }
}
