"""Which test holds which rule of scoring: of the catalogue's files (S), of matching (M), of plink2's sums (P).

A rule that is beyond reference scoring says why instead, and docs/scoring.md says so too. The letters are those of the
project's requirements.
"""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

FILES = {
    "header": "catalog/test_header.py",
    "file": "catalog/test_scoring_file.py",
    "broken": "catalog/test_broken_files.py",
    "complex": "catalog/test_complex_rows.py",
    "score": "genetics/test_score.py",
    "types": "genetics/test_match_types.py",
    "defects": "genetics/test_peer_defects.py",
    "plink2": "genetics/test_live_plink2.py",
    "variants": "genetics/test_variants.py",
    "calls": "genetics/test_genotypes.py",
    "real": "genetics/test_real_scores.py",
    "lifted": "genetics/test_lifted_scores.py",
    "run": "runs/test_reference_scoring.py",
}
RULES = {
    "S1": "header: a_header_of_format_2_is_read_into_types",
    "S2": "header: a_header_of_format_2_is_read_into_types",
    "S3": "header: other_catalogues_names_of_the_id_are_known",
    "S4": "file: a_custom_file_is_called_by_its_stem_however_it_is_packed",
    "S5": "broken: a_table_that_lacks_what_every_score_needs_says_what",
    "S6": "file: an_effect_weight_wins_over_dosage_weights_row_by_row",
    "S7": "file: flags_tell_the_model",
    "S8": "file: other_columns_are_kept_as_text_unless_they_are_empty",
    "S9": "file: a_harmonised_rsid_goes_first",
    "S10": "file: each_column_of_weights_is_a_score",
    "S11": "file: harmonised_places_are_always_taken_even_where_they_are_empty",
    "S12": "file: the_other_allele_is_the_authors_then_the_inferred_one",
    "S13": "file: the_other_allele_is_the_authors_then_the_inferred_one",
    "S14": "file: an_effect_allele_that_is_no_sequence_stays_and_matches_nothing",
    "S15": "file: what_is_odd_is_noted",
    "S16": "lifted: a_score_that_cannot_be_lifted_is_refused",
    "S17": "file: chromosomes_have_one_number_however_they_are_spelled",
    "S18": "types: an_odds_ratio_counts_as_its_logarithm_where_that_is_asked_for_and_never_as_it_is",
    "M1": "variants: rows_without_a_place_are_left_out_and_counted",
    "M2": "types: a_row_takes_the_variant_that_it_fits_best_wherever_that_stands",
    "M3": "score: a_row_gets_its_reason",
    "M4": "types: of_two_records_alike_a_row_takes_the_first",
    "M5": "score: a_row_gets_its_reason",
    "M6": "score: a_palindromic_row_is_decided_by_frequency",
    "M7": "score: a_row_gets_its_reason",
    "M8": "types: a_palindromic_row_that_fits_as_written_is_not_turned",
    "M9": "beyond: the sample's affair; here the panel is what is scored, so each matched variant is in it as it is",
    "M10": "types: the_log_has_a_line_for_each_row_in_the_files_order",
    "M11": "defects: r_a_score_of_which_little_is_in_the_panel_is_marked",
    "M12": "types: the_log_has_a_line_for_each_row_in_the_files_order",
    "M13": "real: rows_at_one_variant_add_up_to_the_calculators_two_files",
    "M14": "real: the_calculators_sums_are_ours_for_everybody",
    "M15": "beyond: chooses variants for principal components, which ancestry needs and a sum never reads",
    "P1": "plink2: several_scores_at_once_have_the_sums_of_one_run",
    "P2": "plink2: missing_calls_count_what_the_frequency_expects",
    "P3": "plink2: missing_calls_count_what_the_frequency_expects",
    "P4": "plink2: centred_and_standardised_copies_are_plink2s",
    "P5": "plink2: dominant_and_recessive_rows_are_plink2s",
    "P6": "plink2: odd_calls_and_unknown_sexes_count_as_in_plink2",
    "P7": "plink2: the_panel_has_every_kind_of_place_and_missing_calls",
    "P8": "score: a_row_gets_its_reason",
    "P9": "plink2: several_scores_at_once_have_the_sums_of_one_run",
    "P10": "plink2: dosages_count_as_in_plink2",
    "P11": "calls: all_alleles_of_a_row_are_told_apart",
}


def test_every_rule_is_spoken_of() -> None:
    wanted = [
        f"{letter}{number}" for letter, most in (("S", 18), ("M", 15), ("P", 11)) for number in range(1, most + 1)
    ]
    assert list(RULES) == wanted


@pytest.mark.parametrize("rule", [each for each, said in RULES.items() if not said.startswith("beyond")])
def test_the_test_of_a_rule_is_there(rule: str) -> None:
    file, _, name = RULES[rule].partition(": ")
    assert re.search(rf"^def test_{name}\(", (ROOT / "tests" / "core" / FILES[file]).read_text(), re.MULTILINE)
