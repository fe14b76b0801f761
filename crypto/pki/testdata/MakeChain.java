import java.io.FileWriter;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Security;
import java.security.spec.ECGenParameterSpec;
import java.util.Base64;
import java.util.Date;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x500.X500NameBuilder;
import org.bouncycastle.asn1.x500.style.BCStyle;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.cert.jcajce.JcaX509ExtensionUtils;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;

/** Makes an agency's certificate, an authority and a root with BouncyCastle and prints them as PEM. */
public class MakeChain {
    static KeyPair key() throws Exception {
        KeyPairGenerator g = KeyPairGenerator.getInstance("EC", "BC");
        g.initialize(new ECGenParameterSpec("sm2p256v1"));
        return g.generateKeyPair();
    }

    static X500Name name(String organization, String commonName, String code) {
        X500NameBuilder b = new X500NameBuilder(BCStyle.INSTANCE);
        b.addRDN(BCStyle.C, "CN");
        b.addRDN(BCStyle.O, organization);
        if (code != null) {
            b.addMultiValuedRDN(new ASN1ObjectIdentifier[]{BCStyle.SERIALNUMBER, BCStyle.OU}, new String[]{code, "业务一处"});
            b.addRDN(BCStyle.EmailAddress, "office@example.cn");
        }
        b.addRDN(BCStyle.CN, commonName);
        return b.build();
    }

    /** The serial number is one more than that of the certificate that the issuer has; the root's is its own. */
    static X509v3CertificateBuilder builder(X500Name issuer, int serial, X500Name subject, KeyPair key, KeyPair issuerKey,
            X500Name issuerOfIssuer) throws Exception {
        JcaX509ExtensionUtils utils = new JcaX509ExtensionUtils();
        Date from = new Date(1767225600000L), until = new Date(2556144000000L);
        GeneralNames names = new GeneralNames(new GeneralName(issuerOfIssuer));
        BigInteger number = BigInteger.valueOf(serial), above = BigInteger.valueOf(Math.max(1, serial - 1));
        return new JcaX509v3CertificateBuilder(issuer, number, from, until, subject, key.getPublic())
            .addExtension(Extension.subjectKeyIdentifier, false, utils.createSubjectKeyIdentifier(key.getPublic()))
            .addExtension(Extension.authorityKeyIdentifier, false,
                utils.createAuthorityKeyIdentifier(issuerKey.getPublic(), names, above));
    }

    static String pem(X509v3CertificateBuilder b, KeyPair issuerKey) throws Exception {
        ContentSigner signer = new JcaContentSignerBuilder("SM3withSM2").setProvider("BC").build(issuerKey.getPrivate());
        byte[] lineFeed = "\n".getBytes(StandardCharsets.US_ASCII);
        String text = Base64.getMimeEncoder(64, lineFeed).encodeToString(b.build(signer).getEncoded());
        return "-----BEGIN CERTIFICATE-----\n" + text + "\n-----END CERTIFICATE-----\n";
    }

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        KeyPair root = key(), middle = key(), agency = key();
        X500Name rootName = name("测试机构", "root", null), middleName = name("测试机构", "middle", null);
        X500Name agencyName = name("测试机关", "测试机关", "91350100M000100Y43");
        String leaf = pem(builder(middleName, 3, agencyName, agency, middle, rootName)
            .addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.digitalSignature | KeyUsage.nonRepudiation))
            .addExtension(Extension.basicConstraints, true, new BasicConstraints(false))
            .addExtension(Extension.extendedKeyUsage, false, new ExtendedKeyUsage(KeyPurposeId.anyExtendedKeyUsage))
            .addExtension(Extension.subjectAlternativeName, false,
                new GeneralNames(new GeneralName(GeneralName.rfc822Name, "office@example.cn"))), middle);
        String authority = pem(builder(rootName, 2, middleName, middle, root, rootName)
            .addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.keyCertSign | KeyUsage.cRLSign))
            .addExtension(Extension.basicConstraints, true, new BasicConstraints(0)), root);
        String top = pem(builder(rootName, 1, rootName, root, root, rootName)
            .addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.keyCertSign | KeyUsage.cRLSign))
            .addExtension(Extension.basicConstraints, true, new BasicConstraints(true)), root);
        System.out.print(leaf + authority + top);
    }
}
