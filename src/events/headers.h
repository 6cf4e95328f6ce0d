/*
 * headers.h
 *		Headers of requests that are configured, in flo.secrets or in a file.
 */
#ifndef FLO_HEADERS_H
#define FLO_HEADERS_H

/* Largest file of headers or with a secret */
#define FLO_HEADERS_FILE_LIMIT 65536

typedef struct FloHeaders
{
	char	  **lines;			/* "Name: value" */
	int			count;
} FloHeaders;

/* In the current memory context; 22023 for one that cannot be sent */
extern void flo_headers_add(FloHeaders *headers, const char *name, const char *value);

/* Those of a JSON object of strings, and of a file with one "Name: value" in each line */
extern void flo_headers_parse(FloHeaders *headers, const char *text);
extern void flo_headers_read_file(FloHeaders *headers, const char *path);

/*
 * In place: asterisks for the values that stand in a text, of which an endpoint may
 * repeat what it got.  Of "Basic ..." and the like the last word is the value.
 */
extern void flo_headers_hide(const FloHeaders *headers, char *text);

/* In place, without space at both ends */
extern char *flo_headers_trim(char *text);

#endif
