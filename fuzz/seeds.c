/*
 * seeds.c
 *		flo_fuzz_seeds(text): writes seeds for the target "chunk" below a folder.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "wire/piece.h"
#include "wire/squeeze.h"

#include "fuzz.h"

PG_FUNCTION_INFO_V1(flo_fuzz_seeds);

static void
write_seed(const char *dir, const char *name, StringInfo chunk, uint16 flags)
{
	FloChunkHeader header = {
		.system_identifier = UINT64CONST(7000000000000000001),
		.timeline = 1,
		.generation_start = 0x1000,
		.encoding = PG_UTF8,
		.epoch = 2,
		.number = 3,
		.txn_number = 3,
		.flags = flags,
		.from = 0x2000,
		.upto = 0x3000,
		.position = 0x3000,
		.anchor_lsn = 0x3000
	};
	char	   *path = psprintf("%s/chunk/%s", dir, name);
	FILE	   *file = fopen(path, "wb");

	flo_chunk_seal(chunk, &header);
	if (file == NULL || fwrite(chunk->data, 1, chunk->len, file) != chunk->len || fclose(file) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", path)));
}

Datum
flo_fuzz_seeds(PG_FUNCTION_ARGS)
{
	const char *dir = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const FloCopyKey key = {
		.relation = 16384,
		.attempt = 1,
		.range = 2,
		.ordinal = 3,
		.rows = 4
	};
	const FloPieceKey piece = {
		.xid = 700,
		.ordinal = 2
	};
	const char	commit[FLO_COMMIT_SIZE] = {'C'};
	FloSqueezer squeezer = {.on = true};
	StringInfoData chunk;
	StringInfoData squeezed;

	initStringInfo(&chunk);
	initStringInfo(&squeezed);
	flo_chunk_reset(&chunk);
	write_seed(dir, "heartbeat", &chunk, FLO_CHUNK_HEARTBEAT);

	flo_chunk_reset(&chunk);
	flo_chunk_append(&chunk, "B", 1);
	flo_chunk_append(&chunk, "a record", 8);
	flo_chunk_append_length(&chunk, 1000);
	flo_chunk_append_raw(&chunk, "begun", 5);
	write_seed(dir, "records", &chunk, FLO_CHUNK_ENDS_INSIDE | FLO_CHUNK_ENDS_FRAGMENT);

	flo_chunk_reset(&chunk);
	flo_chunk_append_copy_key(&chunk, &key);
	flo_chunk_append(&chunk, "a row", 5);
	flo_chunk_set_copy_rows(&chunk, 1);
	write_seed(dir, "copy", &chunk, FLO_CHUNK_COPY);

	flo_chunk_reset(&chunk);
	flo_chunk_append_piece_key(&chunk, &piece);
	flo_chunk_append_subtransaction(&chunk, 701);
	flo_chunk_append(&chunk, "a row", 5);
	write_seed(dir, "piece", &chunk, FLO_CHUNK_PIECE);

	flo_chunk_reset(&chunk);
	flo_chunk_append_void(&chunk, piece.xid, 701);
	flo_chunk_append_piece_commit(&chunk, piece.xid, commit, 2);
	write_seed(dir, "pieces", &chunk, 0);

	flo_chunk_reset(&chunk);
	for (int i = 0; i < 1000; i++)
		flo_chunk_append(&chunk, "a row", 5);
	if (!flo_chunk_squeeze(&squeezer, &chunk, &squeezed))
		elog(ERROR, "rows alike are not compressed");
	write_seed(dir, "squeezed", &squeezed, FLO_CHUNK_COMPRESSED);
	PG_RETURN_VOID();
}
