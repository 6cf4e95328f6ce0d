/*
 * place.c
 *		How far a sink has come that records that within long transactions.
 */
#include "postgres.h"

#include "core/text.h"
#include "events/place.h"
#include "events/sink_state.h"

char *
flo_place_save(FloPlace place)
{
	return psprintf("{\"lsn\": \"%X/%X\", \"ordinal\": " UINT64_FORMAT "}",
					LSN_FORMAT_ARGS(place.final_lsn), place.ordinal);
}

FloPlace
flo_place_parse(const char *state)
{
	Jsonb	   *saved = flo_sink_state_parse(state);
	char	   *lsn = flo_sink_state_text(saved, "lsn");
	FloPlace	place;
	int64		ordinal;

	if (!flo_lsn_try(lsn, &place.final_lsn) || !flo_sink_state_int64(saved, "ordinal", &ordinal))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the recorded state of the worker cannot be read")));
	place.ordinal = ordinal;
	return place;
}
