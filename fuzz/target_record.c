/*
 * target_record.c
 *		Documents that cross hosts: the keys of a state bucket, reports of
 *		workers, values of sequences, definitions of a schema, cut-overs.
 *
 * An input is a letter that chooses the document, and its JSON.
 */
#include "postgres.h"

#include "bus/comparison.h"
#include "bus/cutover_record.h"
#include "bus/records.h"
#include "mb/pg_wchar.h"
#include "wire/backfill.h"
#include "wire/compare.h"
#include "wire/cutover.h"
#include "wire/sequences.h"

#include "fuzz.h"

static const struct
{
	char		letter;
	const FloRecordFormat *format;
}			formats[] = {
	{'s', &flo_source_format},
	{'g', &flo_generation_format},
	{'c', &flo_copy_format},
	{'t', &flo_copy_table_format},
	{'a', &flo_attempt_format},
	{'b', &flo_backfill_format},
	{'x', &flo_text_format},
	{'h', &flo_tables_format},
	{'p', &flo_tables_piece_format},
	{'l', &flo_plan_format},
	{'o', &flo_cutover_record_format},
	{'P', &flo_compare_plan_format},
	{'T', &flo_compare_table_format},
	{'C', &flo_compared_format},
	{'I', &flo_comparing_format}
};

/* A document that is read and written must be read as the same */
static void
try_format(const FloRecordFormat *format, const char *json, size_t len)
{
	void	   *record = flo_record_read(format, "fuzz", json, len);
	char	   *written = flo_record_write(format, record);
	void	   *again = flo_record_read(format, "fuzz", written, strlen(written));

	fuzz_check(strcmp(written, flo_record_write(format, again)) == 0);
}

static void
try_report(const char *json)
{
	FloWorkerReport *report = flo_report_read(FLO_REPORT_PREFIX "w", json);
	char	   *written = flo_report_format(report);

	fuzz_check(strcmp(written,
					  flo_report_format(flo_report_read(FLO_REPORT_PREFIX "w", written))) == 0);
}

void
fuzz_record(const char *data, size_t len)
{
	char		letter;
	char	   *json;
	char	   *text;

	if (len < 1)
		return;
	letter = *data++;
	len--;
	json = fuzz_copy(data, len);
	text = fuzz_text(data, len);
	for (int i = 0; i < lengthof(formats); i++)
		if (formats[i].letter == letter)
			try_format(formats[i].format, json, len);
	if (letter == 'B')
		(void) flo_backfill_marker_format(flo_backfill_marker_parse(json, len));
	if (letter == 'k')
		(void) flo_compare_marker_format(flo_compare_marker_parse(json, len));
	if (letter == 'r')
	{
		uint32		records;

		(void) flo_repair_records(flo_repair_parse(json, len), &records);
	}
	if (letter == 'v')
		(void) flo_sequences_parse("fuzz", "g", json, len);
	if (letter == 'm')
		(void) flo_cutover_parse(json, len);
	if (text == NULL)
		return;
	if (letter == 'w')
		try_report(text);
	if (letter == 'd')
		flo_definitions_check("schema", text);
}
