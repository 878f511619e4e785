//! A WebSocket, seen from the browser's side.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Wire, within};

/// An open WebSocket.
pub struct Socket(WebSocketStream<Wire>);

impl Socket {
    pub(super) async fn over(wire: Wire, host: &str, path: &str) -> Result<Socket, Error> {
        let request = format!("ws://{host}/{path}").into_client_request()?;
        let (stream, _) = within("a WebSocket handshake", tokio_tungstenite::client_async(request, wire)).await?;
        Ok(Socket(stream))
    }

    /// Sends one message.
    pub async fn send(&mut self, message: impl Into<Message>) {
        within("a message to be taken", self.0.send(message.into())).await.expect("the WebSocket is open");
    }

    /// The next text message.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("not a text message: {other:?}"),
        }
    }

    /// The next message of any kind.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        within("a message", self.0.next()).await
    }

    /// Sends a text and expects it back.
    pub async fn echoes(&mut self, text: &str) {
        self.send(Message::text(text)).await;
        assert_eq!(self.text().await, text);
    }

    /// Says goodbye, waits for the answer to that, and hangs up.
    pub async fn close(mut self) {
        within("a closed WebSocket", self.0.close(None)).await.expect("the WebSocket is open");
        while let Some(Ok(_)) = self.next().await {}
    }
}
