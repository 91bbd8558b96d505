//! A device's stream: what is written to it, and what is read from it, an element at a time.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf};
use tokio::sync::mpsc;
use xmpp::Element;

use super::super::wire::End;
use crate::stage::frames::{Frame, Frames};

/// An open stream.
pub struct Link {
    read: ReadHalf<End>,
    write: mpsc::UnboundedSender<String>,
    frames: Frames,
}

impl Link {
    pub fn new(end: End) -> Self {
        let (read, mut write) = tokio::io::split(end);
        let (sender, mut pending) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            while let Some(text) = pending.recv().await {
                if write.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            write.shutdown().await.ok();
        });
        Self { read, write: sender, frames: Frames::default() }
    }

    pub fn send(&self, text: impl Into<String>) {
        self.write.send(text.into()).ok();
    }

    pub async fn next(&mut self) -> Option<Frame> {
        let mut buffer = [0; 2048];
        loop {
            if let Some(frame) = self.frames.next().unwrap() {
                return Some(frame);
            }
            match self.read.read(&mut buffer).await {
                Ok(count @ 1..) => self.frames.push(&buffer[..count]),
                _ => return None,
            }
        }
    }

    pub async fn element(&mut self) -> Option<Element> {
        loop {
            match self.next().await? {
                Frame::Element(element) => return Some(element),
                Frame::Open(_) => {}
                Frame::Close => return None,
            }
        }
    }
}
