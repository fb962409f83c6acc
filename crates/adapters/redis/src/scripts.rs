//! What Redis does in one step: Lua.

use std::sync::LazyLock;

use muster_kernel::events::{Channel, Event};
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Script};

/// How many events of everything are kept.
const KEPT_EVENTS: usize = 8192;
/// How many events of a run are kept: there may be many runs.
const KEPT_OF_A_RUN: usize = 1000;
/// How long the events of a run are kept that nobody closes, in seconds.
const KEPT_OPEN: u64 = 8 * 24 * 3600;

/// Tells an event under the next number. Numbers count from 0 on from when the stream was made,
/// which is the epoch: an id means the same on every node, and never two events. One for which
/// Redis has no room is not told, rather than that everything else is held up by it.
static TELL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
        local epoch, number
        if last then
            epoch, number = string.match(last[1], '^(%d+)%-(%d+)$')
            number = string.format('%.0f', tonumber(number) + 1)
        else
            local time = redis.call('TIME')
            epoch, number = time[1] .. string.format('%06d', tonumber(time[2])), '0'
        end
        local told = redis.pcall('XADD', KEYS[1], 'MAXLEN', ARGV[1], epoch .. '-' .. number,
            't', ARGV[3], 'n', ARGV[4], 'c', ARGV[5], 'd', ARGV[6])
        if type(told) == 'table' and told.err then return end
        if not last and ARGV[2] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
        ",
    )
});

/// Counts a request by the generic cell rate algorithm: a minute's worth may come at once, and
/// comes back evenly. Answers with whether it is refused, how many may come now, and in how many
/// milliseconds a refused one may.
pub(crate) static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local most, each = tonumber(ARGV[1]), 60000000 / tonumber(ARGV[1])
        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
        local full = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
        local wait = full + each - most * each - now
        if wait > 0.5 then return {1, 0, math.ceil(wait / 1000)} end
        full = full + each
        redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
        return {0, math.floor((most * each - (full - now)) / each + 0.001), 0}
        ",
    )
});

/// Takes what is kept under a key, once.
pub(crate) static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local value = redis.call('GET', KEYS[1])
        if value then redis.call('DEL', KEYS[1]) end
        return value
        ",
    )
});

/// Makes the scripts known that are called by name.
pub(crate) async fn load(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    TELL.load_async(connection).await.map(drop)
}

/// Tells an event.
pub(crate) fn tell(pipeline: &mut Pipeline, key: &str, channel: Channel, event: &Event) {
    let (events, kept) = match channel {
        Channel::Everything => (KEPT_EVENTS, 0),
        Channel::Run(_) | Channel::Rollout(_) | Channel::Project(_) | Channel::Chat(_) => {
            (KEPT_OF_A_RUN, KEPT_OPEN)
        }
    };
    let customer = event.customer_id.map(|id| id.to_string()).unwrap_or_default();
    let call = pipeline.cmd("EVALSHA").arg(TELL.get_hash()).arg(1).arg(key);
    call.arg(events).arg(kept).arg(event.topic.as_str()).arg(event.name);
    call.arg(customer).arg(&*event.data).ignore();
}
