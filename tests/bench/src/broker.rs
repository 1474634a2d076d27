//! What the broker alone does: one body, published with confirms, consumed and acked, on one quorum queue.

use std::collections::VecDeque;

use anyhow::{Context, ensure};
use calgrant_runtime::clock;
use calgrant_testkit::Vhost;
use futures::StreamExt;
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};

/// Messages that are published and not confirmed yet, at most.
const UNCONFIRMED: usize = 1000;
/// Messages that are delivered and not acked yet, at most.
const PREFETCH: u16 = 1000;

/// Messages a second from published to acked, by one who publishes and one who consumes, on connections of their own.
pub(crate) async fn messages_per_second(body: &[u8], messages: u32) -> anyhow::Result<f64> {
    let vhost = Vhost::new();
    let connect = || Connection::connect(vhost.url(), ConnectionProperties::default());
    let (publishing, consuming) = (connect().await?, connect().await?);
    let queue: ShortString = "raw".into();
    let channel = consuming.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    channel
        .queue_declare(queue.clone(), QueueDeclareOptions::durable(), arguments)
        .await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let mut deliveries = channel
        .basic_consume(
            queue.clone(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let start = clock::instant();
    let consume = async {
        for _ in 0..messages {
            let delivery = deliveries.next().await.context("consuming has ended")??;
            delivery.acker.ack(BasicAckOptions::default()).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(publish(&publishing, &queue, body, messages), consume)?;
    let seconds = (clock::instant() - start).as_secs_f64();
    for connection in [publishing, consuming] {
        connection.close(200, "done".into()).await?;
    }
    Ok(f64::from(messages) / seconds)
}

async fn publish(
    connection: &Connection,
    queue: &ShortString,
    body: &[u8],
    messages: u32,
) -> anyhow::Result<()> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut unconfirmed: VecDeque<PublisherConfirm> = VecDeque::with_capacity(UNCONFIRMED);
    for number in 0..messages {
        if unconfirmed.len() == UNCONFIRMED
            && let Some(oldest) = unconfirmed.pop_front()
        {
            confirmed(oldest).await?;
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(number.to_string().into());
        let sent = channel
            .basic_publish(
                "".into(),
                queue.clone(),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await?;
        unconfirmed.push_back(sent);
    }
    for left in unconfirmed {
        confirmed(left).await?;
    }
    Ok(())
}

async fn confirmed(sent: PublisherConfirm) -> anyhow::Result<()> {
    let confirmation = sent.await?;
    ensure!(
        matches!(confirmation, Confirmation::Ack(None)),
        "{confirmation:?}"
    );
    Ok(())
}
