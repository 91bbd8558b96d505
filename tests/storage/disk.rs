//! Data directories: who may open them, and what is refused with which sentence.

use std::fs;
use std::path::Path;

use store::{Engine, OpenError};

use crate::{batch, block_on, fresh_dir, small};

const ON_DISK: [Engine; 2] = [Engine::Sled, Engine::Fjall];

fn filled(engine: Engine, dir: &Path) {
    let store = store::open(engine, dir, &small()).unwrap();
    block_on(async {
        for n in 0..50u8 {
            store
                .commit_durably(batch(|b| {
                    b.put(vec![1, n], vec![n; 500]);
                }))
                .await
                .unwrap();
        }
        store.close().await.unwrap();
    });
}

fn refused(engine: Engine, dir: &Path) -> OpenError {
    match store::open(engine, dir, &small()) {
        Ok(_) => panic!("{} was opened", dir.display()),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&*dir.to_string_lossy()), "names the directory: {text}");
            error
        }
    }
}

fn is_whole(engine: Engine, dir: &Path) -> bool {
    let store = store::open(engine, dir, &small()).unwrap();
    block_on(async {
        let report = store.verify().await.unwrap();
        store.close().await.unwrap();
        report.rows == 50 && report.problems.is_empty() && report.last_commit == 50
    })
}

#[test]
fn one_at_a_time() {
    for engine in ON_DISK {
        let dir = fresh_dir();
        let store = store::open(engine, &dir, &small()).unwrap();
        assert!(matches!(refused(engine, &dir), OpenError::Locked { .. }));
        block_on(store.close()).unwrap();
        drop(store::open(engine, &dir, &small()).unwrap());
        fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn another_engine_or_a_newer_format_is_refused_and_left_alone() {
    for engine in ON_DISK {
        let dir = fresh_dir();
        filled(engine, &dir);
        assert_eq!(Engine::of(&dir), Some(engine));
        let other = ON_DISK.into_iter().find(|other| *other != engine).unwrap();
        let error = refused(other, &dir);
        assert!(error.to_string().contains(engine.name()));
        assert!(matches!(error, OpenError::OtherEngine { .. }));
        assert!(!dir.join(other.name()).exists());
        let format = fs::read_to_string(dir.join("format")).unwrap();
        fs::write(dir.join("format"), "chirrup-store 2\nwhatever\n").unwrap();
        assert!(matches!(refused(engine, &dir), OpenError::NewerFormat { found: 2, .. }));
        fs::write(dir.join("format"), "nonsense").unwrap();
        assert!(matches!(refused(engine, &dir), OpenError::Io { .. }));
        fs::write(dir.join("format"), format).unwrap();
        assert!(is_whole(engine, &dir));
        fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn nothing_is_started_over_other_files() {
    for engine in ON_DISK {
        let dir = fresh_dir();
        fs::create_dir_all(dir.join("photos")).unwrap();
        assert!(matches!(refused(engine, &dir), OpenError::NotAStore { .. }));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "and nothing is left there");
        // A start that died half-way, on a fresh disk, is no obstacle.
        fs::remove_dir(dir.join("photos")).unwrap();
        fs::write(dir.join("format.new"), "chir").unwrap();
        fs::write(dir.join("lock"), "").unwrap();
        fs::create_dir(dir.join("lost+found")).unwrap();
        filled(engine, &dir);
        // A store without its format file is nobody's to guess about.
        fs::remove_file(dir.join("format")).unwrap();
        assert!(matches!(refused(engine, &dir), OpenError::NotAStore { .. }));
        fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn a_store_that_went_missing_is_noticed() {
    for engine in ON_DISK {
        let dir = fresh_dir();
        filled(engine, &dir);
        fs::rename(dir.join(engine.name()), dir.join("aside")).unwrap();
        assert!(matches!(refused(engine, &dir), OpenError::Behind { has: 0, acknowledged: 50, .. }));
        fs::create_dir(dir.join(engine.name())).unwrap();
        assert!(matches!(refused(engine, &dir), OpenError::Behind { has: 0, acknowledged: 50, .. }));
        fs::remove_dir_all(dir.join(engine.name())).unwrap();
        fs::rename(dir.join("aside"), dir.join(engine.name())).unwrap();
        assert!(is_whole(engine, &dir));
        // An unreadable or missing watermark says nothing.
        fs::write(dir.join("watermark"), "torn").unwrap();
        assert!(is_whole(engine, &dir));
        fs::remove_file(dir.join("watermark")).unwrap();
        assert!(is_whole(engine, &dir));
        fs::remove_dir_all(dir).unwrap();
    }
}

/// Known to keep stock sled 0.34.7 from opening: a snapshot it was writing when it died.
#[test]
fn a_half_written_snapshot_is_swept_away() {
    let dir = fresh_dir();
    filled(Engine::Sled, &dir);
    fs::write(dir.join("sled/snap.000000000000FFFF.generating"), b"12345").unwrap();
    assert!(is_whole(Engine::Sled, &dir));
    fs::remove_dir_all(dir).unwrap();
}

/// Whatever the engine does about it, it is an error or a sound store, and not a panic of ours.
#[test]
fn a_damaged_engine_is_an_error() {
    for engine in ON_DISK {
        let dir = fresh_dir();
        filled(engine, &dir);
        let mut files: Vec<_> =
            fs::read_dir(dir.join(engine.name())).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.is_file());
        files.sort();
        for path in files {
            let content = fs::read(&path).unwrap();
            let mut damaged = content.clone();
            for byte in damaged.iter_mut().take(64) {
                *byte ^= 0x5A;
            }
            for damaged in [damaged, Vec::new()] {
                let other = fresh_dir();
                copy_dir(&dir, &other);
                fs::write(other.join(path.strip_prefix(&dir).unwrap()), damaged).unwrap();
                match store::open(engine, &other, &small()) {
                    Ok(store) => block_on(async {
                        let _ = store.verify().await;
                        let _ = store.close().await;
                    }),
                    Err(error) => assert!(error.to_string().contains(&*other.to_string_lossy())),
                }
                fs::remove_dir_all(other).unwrap();
            }
        }
        assert!(is_whole(engine, &dir));
        fs::remove_dir_all(dir).unwrap();
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target)
        } else {
            let _ = fs::copy(entry.path(), target).unwrap();
        }
    }
}
