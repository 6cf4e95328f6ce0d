/*
 * replicator_config.c
 *		What a replicator is told to do, and what its stream is to be.
 */
#include "postgres.h"

#include "conf/message.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "conf/watch.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "monitor/state.h"
#include "source/replicator_config.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

bool
flo_replicator_notice_configuration(Replicator *rep)
{
	if (!flo_watch_changed())
		return false;
	rep->changed = rep->rules_changed = true;
	return true;
}

/* Reads this group's row; false when it is gone */
bool
flo_replicator_load_spec(Replicator *rep)
{
	MemoryContext old = flo_transaction_begin();

	MemoryContextReset(rep->spec_context);
	MemoryContextSwitchTo(rep->spec_context);
	rep->spec = flo_store_replicator(rep->group);
	rep->choice = flo_store_table_choice(rep->group);
	if (rep->decoder != NULL)
		flo_decoder_set_choice(rep->decoder, rep->choice);
	if (rep->spec != NULL)
	{
		flo_ddl_filter_load(rep->ddl_filter, rep->spec, rep->choice);
		flo_own_messages_set_key(rep->own_messages, flo_message_key(rep->group));
		flo_definitions_look_at_all(rep->definitions);
	}
	flo_transaction_end(old);
	if (rep->spec != NULL)
		flo_rights_check_member(rep->group, rep->spec->owner, false);
	return rep->spec != NULL;
}

FloStreamConfig
flo_replicator_stream_config(Replicator *rep)
{
	const FloReplicatorOptions *options = &rep->spec->options;
	FloStreamConfig config = {0};

	config.name = rep->stream;
	config.subject = flo_name_subject(rep->group);
	config.max_bytes = options->stream_max_bytes >= 0 ? options->stream_max_bytes :
		(int64) flo_stream_max_bytes * 1024 * 1024;
	config.max_age = options->stream_max_age >= 0 ? options->stream_max_age : flo_stream_max_age;
	config.replicas = (int) (options->stream_replicas > 0 ? options->stream_replicas :
							 flo_stream_replicas);
	config.description = flo_ownership_of_stream(&rep->claim);
	return config;
}

/*
 * What travels before its commit keeps the stream from being purged, and is lost when it
 * is older than the stream's limit: it may take a part of that.
 */
#define EARLY_PART 4

void
flo_replicator_tell_room(Replicator *rep)
{
	FloStreamConfig config = flo_replicator_stream_config(rep);
	int64		room = config.max_bytes > 0 ? config.max_bytes : PG_INT64_MAX;
	FloEarlyLimits limits;

	if (rep->account_bytes > 0)
		room = Min(room, rep->account_bytes);
	limits.bytes = room < PG_INT64_MAX ? room / EARLY_PART : 0;
	limits.age = (int) Min(config.max_age * 1000 / EARLY_PART, PG_INT32_MAX);
	flo_publisher_set_limits(rep->publisher, &limits);
}

void
flo_replicator_limit_early(Replicator *rep)
{
	const FloReplicatorOptions *options = &rep->spec->options;
	bool		early = options->large_transactions == FLO_LARGE_EARLY;

	flo_replicator_tell_room(rep);
	flo_spool_set_threshold(rep->spool, early ? options->large_transaction_size : FLO_AT_COMMIT);
	if (!early)
		flo_spool_withdraw(rep->spool);
}

/* Something is waited for that a new process looks at anew */
void
flo_replicator_begin_anew(void)
{
	/* not left as failed: the launcher is to start another */
	flo_state_set(FLO_STATE_WAITING, "for a new process to take up the configuration");
	proc_exit(0);
}

void
flo_replicator_report(Replicator *rep)
{
	FloPositions positions = {0};
	FloCopyPhase phase = flo_copy_phase();

	/* a part of what is being decoded may be published */
	positions.received = Max(rep->session.start, rep->published);
	if (rep->decoder != NULL)
		positions.received = Max(positions.received, flo_decoder_position(rep->decoder));
	positions.durable = rep->published;
	positions.known = Max(rep->published, rep->caught_up.lsn);
	positions.next_xid = rep->published > rep->caught_up.lsn ? InvalidTransactionId :
		rep->caught_up.xid;
	positions.oldest_pending = flo_publisher_oldest(rep->publisher);
	if ((phase == FLO_COPY_SNAPSHOT || phase == FLO_COPY_RUNNING) &&
		(positions.oldest_pending == 0 || rep->copy.since < positions.oldest_pending))
		positions.oldest_pending = rep->copy.since;
	positions.source_seen = rep->caught_up.at;
	positions.open_bytes = flo_publisher_open_bytes(rep->publisher);
	positions.pending_bytes = flo_publisher_pending_bytes(rep->publisher);
	flo_state_report(&positions);
}
