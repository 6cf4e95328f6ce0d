/*
 * bucket_text.c
 *		Texts of any size in a state bucket, in pieces.
 */
#include "postgres.h"

#include "bus/bucket_text.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "core/names.h"
#include "lib/stringinfo.h"

/* Bytes of one value of a text that may be larger */
#define PIECE_SIZE (256 * 1024)

/* Number of pieces of a text, 0 when there is none (of the generation, unless NULL) */
static int64
count_pieces(FloBus *bus, const char *bucket, const char *key, const char *generation)
{
	FloTextRecord *record = flo_records_get(bus, bucket, key, &flo_text_format);

	if (record == NULL || (generation != NULL && strcmp(record->generation, generation) != 0))
		return 0;
	return record->pieces;
}

void
flo_bucket_put_text(FloBus *bus, const char *bucket, const char *key,
					const char *generation, const char *text)
{
	size_t		left = strlen(text);
	size_t		size = (size_t) Min((int64) PIECE_SIZE, flo_bus_max_payload(bus) / 2);
	FloTextRecord record = {unconstify(char *, generation), 0};

	do
	{
		size_t		len = Min(left, size);
		char	   *piece = pnstrdup(text, len);

		flo_bucket_put(bus, bucket, psprintf("%s." INT64_FORMAT, key, ++record.pieces), piece,
					   true);
		pfree(piece);
		text += len;
		left -= len;
	} while (left > 0);
	flo_records_put(bus, bucket, key, &flo_text_format, &record, true);
}

bool
flo_bucket_has_text(FloBus *bus, const char *bucket, const char *key, const char *generation)
{
	return count_pieces(bus, bucket, key, generation) > 0;
}

char *
flo_bucket_get_text(FloBus *bus, const char *bucket, const char *key, const char *generation)
{
	int64		pieces = count_pieces(bus, bucket, key, generation);
	StringInfoData text;

	if (pieces == 0)
		return NULL;
	initStringInfo(&text);
	for (int64 i = 1; i <= pieces; i++)
	{
		char	   *piece = flo_bucket_get(bus, bucket, psprintf("%s." INT64_FORMAT, key, i));

		if (piece == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("piece " INT64_FORMAT " of " INT64_FORMAT " of \"%s\" is missing in state bucket \"%s\"",
							i, pieces, key, bucket)));
		appendStringInfoString(&text, piece);
		pfree(piece);
	}
	return text.data;
}

void
flo_bucket_remove_text(FloBus *bus, const char *bucket, const char *key)
{
	int64		pieces = count_pieces(bus, bucket, key, NULL);

	if (pieces == 0)
		return;
	flo_bucket_remove(bus, bucket, key);
	for (int64 i = 1; i <= pieces; i++)
		flo_bucket_remove(bus, bucket, psprintf("%s." INT64_FORMAT, key, i));
}
