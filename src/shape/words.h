/*
 * words.h
 *		Lists of words that pseudonyms are made of.
 */
#ifndef FLO_WORDS_H
#define FLO_WORDS_H

/* In characters, which are ASCII */
#define FLO_WORD_MAX 12

extern const char *const flo_first_names[];
extern const int flo_first_names_count;
extern const char *const flo_last_names[];
extern const int flo_last_names_count;
extern const char *const flo_cities[];
extern const int flo_cities_count;
extern const char *const flo_streets[];
extern const int flo_streets_count;
extern const char *const flo_street_kinds[];
extern const int flo_street_kinds_count;
extern const char *const flo_company_names[];
extern const int flo_company_names_count;
extern const char *const flo_company_trades[];
extern const int flo_company_trades_count;
extern const char *const flo_company_forms[];
extern const int flo_company_forms_count;

#endif
