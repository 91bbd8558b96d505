//! The strings of the memory engine do what they say.

use store::{Batch, CommitError, Fault, Memory, Store};

use crate::{batch, block_on};

fn put(key: &'static str) -> Batch {
    batch(|b| {
        b.put(key, "v");
    })
}

#[test]
fn a_crash_forgets_what_was_not_flushed() {
    block_on(async {
        let memory = Memory::new();
        let control = memory.control();
        memory.commit_durably(put("kept")).await.unwrap();
        control.hold_flushes(true);
        let flushed = memory.commit(put("flushed")).await.unwrap();
        control.flush();
        flushed.durable().await.unwrap();
        let lost = memory
            .commit(batch(|b| {
                b.put("lost", "1").delete("kept").put("flushed", "2");
            }))
            .await
            .unwrap();
        let also_lost = memory.commit(put("kept")).await.unwrap();
        assert!(memory.get(b"lost").await.unwrap().is_some());
        assert_eq!(control.unflushed(), 2);
        control.crash();
        assert!(lost.durable().await.is_err());
        assert!(also_lost.durable().await.is_err());
        assert!(memory.get(b"kept").await.is_err(), "the old handle is dead");
        let again = control.open();
        assert_eq!(again.get(b"kept").await.unwrap().unwrap(), "v");
        assert_eq!(again.get(b"flushed").await.unwrap().unwrap(), "v");
        assert_eq!(again.get(b"lost").await.unwrap(), None);
        again.commit_durably(put("next")).await.unwrap();
    });
}

#[test]
fn an_operation_can_be_made_to_fail() {
    block_on(async {
        let memory = Memory::new();
        let control = memory.control();
        control.fail_after(2);
        assert!(memory.get(b"k").await.is_ok());
        assert!(memory.commit(put("a")).await.is_ok());
        assert!(matches!(memory.commit(put("b")).await, Err(CommitError::Fault(_))));
        assert_eq!(memory.get(b"b").await.unwrap(), None);
        control.break_writes(Some(Fault::new("the disk is full")));
        assert!(matches!(memory.commit(put("b")).await, Err(CommitError::Fault(_))));
        assert!(memory.get(b"a").await.unwrap().is_some(), "reads go on");
        control.break_writes(None);
        memory.commit_durably(put("b")).await.unwrap();
    });
}

#[test]
fn answers_can_be_slow() {
    use std::pin::pin;
    use std::task::{Context, Waker};
    let memory = Memory::new();
    memory.control().answer_after_polls(2);
    let mut answer = pin!(memory.get(b"k"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(answer.as_mut().poll(&mut context).is_pending());
    assert!(answer.as_mut().poll(&mut context).is_pending());
    assert!(answer.as_mut().poll(&mut context).is_ready());
    block_on(memory.commit_durably(put("a"))).unwrap();
}
