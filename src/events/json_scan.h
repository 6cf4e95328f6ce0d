/*
 * json_scan.h
 *		Goes through JSON that came from elsewhere, where it lies.
 *
 * Nothing is copied, thrown or looked up, and no nesting is too deep.  Text that is no
 * JSON ends a scan early, or gives parts that are none.
 */
#ifndef FLO_JSON_SCAN_H
#define FLO_JSON_SCAN_H

/* A value as it stands there, a string with its quotes; without data: there is none */
typedef struct FloJsonPart
{
	const char *data;
	int			len;
} FloJsonPart;

/* What is left of an object or an array */
typedef struct FloJsonScan
{
	const char *at;
	const char *end;
	bool		is_object;
} FloJsonScan;

static inline FloJsonPart
flo_json_part(const char *data, int len)
{
	FloJsonPart part = {data, len};

	return part;
}

/* Of anything else than an object or an array it has nothing */
extern FloJsonScan flo_json_scan(FloJsonPart value);

/* The next member or element; "key" may be NULL */
extern bool flo_json_next(FloJsonScan *scan, FloJsonPart *key, FloJsonPart *value);

/* The member of that name, which needs no escapes; without data when there is none */
extern FloJsonPart flo_json_find(FloJsonPart object, const char *key);

extern bool flo_json_is(FloJsonPart value, const char *text);
extern int64 flo_json_number(FloJsonPart value, int64 otherwise);

/* What is between the quotes of a string, as it stands there; palloc'd, "" for anything else */
extern char *flo_json_content(FloJsonPart value);

#endif
