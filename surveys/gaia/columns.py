"""The 152 columns of gaia_source (DR3) in the archive's order, with the dtypes and units of its data model."""

from __future__ import annotations

import re

from mmu.schema import Column

_TYPES = {"f8": "float64", "f4": "float32", "i2": "int16", "i8": "int64", "b": "bool", "s": "string"}

# dtype: the columns that follow one another with it
_TEXT = """
i8: solution_id | s: designation | i8: source_id random_index | f8: ref_epoch ra | f4: ra_error | f8: dec
| f4: dec_error | f8: parallax | f4: parallax_error parallax_over_error pm | f8: pmra | f4: pmra_error
| f8: pmdec | f4: pmdec_error ra_dec_corr ra_parallax_corr ra_pmra_corr ra_pmdec_corr dec_parallax_corr dec_pmra_corr
dec_pmdec_corr parallax_pmra_corr parallax_pmdec_corr pmra_pmdec_corr
| i2: astrometric_n_obs_al astrometric_n_obs_ac astrometric_n_good_obs_al astrometric_n_bad_obs_al
| f4: astrometric_gof_al astrometric_chi2_al astrometric_excess_noise astrometric_excess_noise_sig
| i2: astrometric_params_solved | b: astrometric_primary_flag
| f4: nu_eff_used_in_astrometry pseudocolour pseudocolour_error ra_pseudocolour_corr dec_pseudocolour_corr
parallax_pseudocolour_corr pmra_pseudocolour_corr pmdec_pseudocolour_corr
| i2: astrometric_matched_transits visibility_periods_used | f4: astrometric_sigma5d_max
| i2: matched_transits new_matched_transits matched_transits_removed
| f4: ipd_gof_harmonic_amplitude ipd_gof_harmonic_phase | i2: ipd_frac_multi_peak ipd_frac_odd_win
| f4: ruwe scan_direction_strength_k1 scan_direction_strength_k2 scan_direction_strength_k3 scan_direction_strength_k4
scan_direction_mean_k1 scan_direction_mean_k2 scan_direction_mean_k3 scan_direction_mean_k4 | b: duplicated_source
| i2: phot_g_n_obs | f8: phot_g_mean_flux | f4: phot_g_mean_flux_error phot_g_mean_flux_over_error phot_g_mean_mag
| i2: phot_bp_n_obs | f8: phot_bp_mean_flux | f4: phot_bp_mean_flux_error phot_bp_mean_flux_over_error phot_bp_mean_mag
| i2: phot_rp_n_obs | f8: phot_rp_mean_flux | f4: phot_rp_mean_flux_error phot_rp_mean_flux_over_error phot_rp_mean_mag
phot_bp_rp_excess_factor
| i2: phot_bp_n_contaminated_transits phot_bp_n_blended_transits phot_rp_n_contaminated_transits
phot_rp_n_blended_transits phot_proc_mode
| f4: bp_rp bp_g g_rp radial_velocity radial_velocity_error
| i2: rv_method_used rv_nb_transits rv_nb_deblended_transits rv_visibility_periods_used
| f4: rv_expected_sig_to_noise rv_renormalised_gof rv_chisq_pvalue rv_time_duration rv_amplitude_robust
rv_template_teff rv_template_logg rv_template_fe_h | i2: rv_atm_param_origin | f4: vbroad vbroad_error
| i2: vbroad_nb_transits | f4: grvs_mag grvs_mag_error | i2: grvs_mag_nb_transits | f4: rvs_spec_sig_to_noise
| s: phot_variable_flag | f8: l b ecl_lon ecl_lat | b: in_qso_candidates in_galaxy_candidates | i2: non_single_star
| b: has_xp_continuous has_xp_sampled has_rvs has_epoch_photometry has_epoch_rv has_mcmc_gspphot has_mcmc_msc
in_andromeda_survey
| f4: classprob_dsc_combmod_quasar classprob_dsc_combmod_galaxy classprob_dsc_combmod_star
teff_gspphot teff_gspphot_lower teff_gspphot_upper logg_gspphot logg_gspphot_lower logg_gspphot_upper
mh_gspphot mh_gspphot_lower mh_gspphot_upper distance_gspphot distance_gspphot_lower distance_gspphot_upper
azero_gspphot azero_gspphot_lower azero_gspphot_upper ag_gspphot ag_gspphot_lower ag_gspphot_upper
ebpminrp_gspphot ebpminrp_gspphot_lower ebpminrp_gspphot_upper | s: libname_gspphot
"""

# the first pattern that a whole name matches gives its unit
_UNITS = (
    (r".*(_corr|_flux_over_error|_n_obs|_sig|_strength_k\d)|parallax_over_error|pm.*_corr", ""),
    (r"ref_epoch", "yr"),
    (r"ra|dec|l|b|ecl_lon|ecl_lat|scan_direction_mean_k\d|ipd_gof_harmonic_phase", "deg"),
    (r"(ra|dec|parallax)_error|parallax|astrometric_excess_noise|astrometric_sigma5d_max", "mas"),
    (r"pm(ra|dec)?(_error)?", "mas/yr"),
    (r"nu_eff_used_in_astrometry|pseudocolour(_error)?", "1/um"),
    (r"phot_\w+_mean_flux(_error)?", "e-/s"),
    (r".*_mag(_error)?|bp_rp|bp_g|g_rp|(azero|ag|ebpminrp)_gspphot.*", "mag"),
    (r"radial_velocity(_error)?|rv_amplitude_robust|vbroad(_error)?", "km/s"),
    (r"rv_time_duration", "d"),
    (r"(rv_template_teff|teff_gspphot.*)", "K"),
    (r"rv_template_(logg|fe_h)|(logg|mh)_gspphot.*", "dex"),
    (r"distance_gspphot.*", "pc"),
)
_ALWAYS_THERE = ("solution_id", "source_id", "random_index")


def _unit(name: str) -> str:
    return next((unit for pattern, unit in _UNITS if re.fullmatch(pattern, name)), "")


def _column(name: str, code: str) -> Column:
    """Missing numbers are NaN; whole numbers, flags and text, which have none, are null."""
    nullable = code in ("i2", "i8", "b", "s") and name not in _ALWAYS_THERE
    return Column(name, _TYPES[code], _unit(name), nullable=nullable)


SOURCE: tuple[Column, ...] = tuple(
    _column(name, part.split(":")[0].strip()) for part in _TEXT.split("|") for name in part.split(":")[1].split()
)
"""All columns of gaia_source."""
